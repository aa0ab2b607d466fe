/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shoal(1): the list of commands, and the way into each. */
#include <stdio.h>
#include <string.h>

#include "tools/cli.h"

static const struct option_def up_options[UP_COUNT] = {
	[UP_FOREGROUND] = { "foreground", 'f', OPTION_FLAG, NULL, "stay; log to standard error", 0, 0 },
	[UP_OPTIONS] = { "options", 'o', OPTION_TEXT, "OPTS", "mount options, as in fstab(5)", 0, 0 },
	[UP_NAME] = { "name", 0, OPTION_TEXT, "NAME", "of this device, when the store is new", 0, 0 },
};
static const struct option_def init_options[INIT_COUNT] = {
	[INIT_MESH] = { "mesh", 0, OPTION_TEXT, "NAME", "of the new mesh", 0, 0 },
	[INIT_DEVICE] = { "device", 0, OPTION_TEXT, "NAME", "of this device (default: the host's)", 0, 0 },
};
static const struct option_def mount_options[MOUNT_COUNT] = {
	[MOUNT_OPTIONS] = { "options", 'o', OPTION_TEXT, "OPTS", "mount options, as in fstab(5)", 0, 0 },
};
static const struct option_def invite_options[INVITE_COUNT] = {
	[INVITE_ROLE] = { "role", 0, OPTION_TEXT, "ROLE", "admin or member (default)", 0, 0 },
	[INVITE_EXPIRES] = { "expires", 0, OPTION_DURATION, "TIME", "how long it works (default 1h)", 0, 0 },
	[INVITE_USES] = { "uses", 0, OPTION_NUMBER, "N", "how many devices it admits (default 1)", 1, 1000 },
	[INVITE_QR] = { "qr", 0, OPTION_FLAG, NULL, "on a terminal also as a QR code", 0, 0 },
};
static const struct option_def join_options[JOIN_COUNT] = {
	[JOIN_DEVICE] = { "device", 0, OPTION_TEXT, "NAME", "of this device (default: the host's)", 0, 0 },
	[JOIN_ADDRESS] = { "address", 0, OPTION_TEXT, "HOST[:PORT]", "try the inviter there as well", 0, 0 },
	[JOIN_TIMEOUT] = { "timeout", 0, OPTION_DURATION, "S", "give up after this time (default 30s)", 0, 0 },
};
static const struct option_def subscribe_options[SUBSCRIBE_COUNT] = {
	[SUBSCRIBE_WHERE] = { "where", 0, OPTION_TEXT, "EXPR", "only the files for which it is true", 0, 0 },
	[SUBSCRIBE_NEW] = { "new", 0, OPTION_FLAG, NULL, "collections that are new from now on", 0, 0 },
};
static const struct option_def unsubscribe_options[UNSUBSCRIBE_COUNT] = {
	[UNSUBSCRIBE_NEW] = { "new", 0, OPTION_FLAG, NULL, "collections that are new from now on", 0, 0 },
	[UNSUBSCRIBE_FORCE] = { "force", 0, OPTION_FLAG, NULL,
				"delete what is here at once, though nobody else may have it", 0, 0 },
};
static const struct option_def peers_options[PEERS_COUNT] = {
	[PEERS_GRAPH] = { "graph", 0, OPTION_FLAG, NULL, "draw who is reachable through whom", 0, 0 },
	[PEERS_DOT] = { "dot", 0, OPTION_FLAG, NULL, "the same as input of Graphviz", 0, 0 },
};
static const struct option_def wait_options[WAIT_COUNT] = {
	[WAIT_PEERS] = { "peers", 0, OPTION_NUMBER, "N", "how many devices (default 1)", 1, 65536 },
	[WAIT_DEVICE] = { "device", 0, OPTION_TEXT, "NAME", "this device", 0, 0 },
	[WAIT_TIMEOUT] = { "timeout", 0, OPTION_DURATION, "S", "give up after this time", 0, 0 },
};
static const struct option_def watch_options[WATCH_COUNT] = {
	[WATCH_WHERE] = { "where", 0, OPTION_TEXT, "EXPR", "only of files that match, or did before", 0, 0 },
};
static const struct option_def resolve_options[RESOLVE_COUNT] = {
	[RESOLVE_TAKE] = { "take", 0, OPTION_TEXT, "ID", "take this value back", 0, 0 },
	[RESOLVE_KEEP] = { "keep", 0, OPTION_FLAG, NULL, "keep what is shown", 0, 0 },
};
static const struct option_def log_options[LOG_COUNT] = {
	[LOG_DELETED] = { "deleted", 0, OPTION_FLAG, NULL, "list what was deleted below PATH", 0, 0 },
};
static const struct option_def restore_options[RESTORE_COUNT] = {
	[RESTORE_TO] = { "to", 0, OPTION_TEXT, "PATH", "put it there instead", 0, 0 },
};
static const struct option_def query_options[QUERY_COUNT] = {
	[QUERY_FORMAT] = { "format", 0, OPTION_TEXT, "FORMAT", "table (default), json, jsonl or csv", 0, 0 },
	[QUERY_PARAM] = { "param", 0, OPTION_LIST, "NAME=VALUE", "what :NAME in it is; as often as needed", 0, 0 },
	[QUERY_WATCH] = { "watch", 0, OPTION_FLAG, NULL, "go on, and tell how the answer changes", 0, 0 },
	[QUERY_SINCE] = { "since", 0, OPTION_TEXT, "CURSOR", "with --watch: begin where this cursor was told", 0, 0 },
};
static const struct option_def index_options[INDEX_COUNT] = {
	[INDEX_DROP] = { "drop", 0, OPTION_FLAG, NULL, "take it away", 0, 0 },
	[INDEX_LIST] = { "list", 0, OPTION_FLAG, NULL, "what indexes there are", 0, 0 },
};
static const struct option_def verify_options[VERIFY_COUNT] = {
	[VERIFY_REPAIR] = { "repair", 0, OPTION_FLAG, NULL, "write derived entries anew", 0, 0 },
};

static const struct option_def import_options[IMPORT_COUNT] = {
	[IMPORT_FORMAT] = { "format", 0, OPTION_TEXT, "NAME", "jsonl, csv or tsv (default: as FILE ends)", 0, 0 },
	[IMPORT_ID] = { "id", 0, OPTION_TEXT, "MEMBER", "or JSON pointer that names the documents", 0, 0 },
	[IMPORT_TEXT] = { "text", 0, OPTION_FLAG, NULL, "take all cells of CSV as text", 0, 0 },
	[IMPORT_FROM] = { "from", 0, OPTION_NUMBER, "LINE", "pass over the lines before", 1, 0 },
	[IMPORT_KEEP_GOING] = { "keep-going", 'k', OPTION_FLAG, NULL, "past lines that are refused", 0, 0 },
};
static const struct option_def export_options[EXPORT_COUNT] = {
	[EXPORT_FORMAT] = { "format", 0, OPTION_TEXT, "NAME", "jsonl, csv or tsv (default: as FILE ends)", 0, 0 },
};

#define MANY 4096
static const struct command_def commands[] = {
	{ "up", "[DIR]", "Make what is missing, start the daemon, mount",
	  "Makes a store and a new mesh if there is none, starts the daemon, mounts at DIR (default:\n"
	  "~/Shoal) and returns when it serves.",
	  up_options, UP_COUNT, 0, 1, true, cmd_up },
	{ "down", "[DIR]", "Unmount and stop the daemon",
	  "Everything is durable when it returns.", NULL, 0, 0, 1, true, cmd_down },
	{ "upgrade", "[PROGRAM]", "Have the daemon become a newer one",
	  "The daemon goes on as PROGRAM (default: the shoald beside this shoal) with all that is open:\n"
	  "no program that uses the directory notices. Links to other devices are made anew.",
	  NULL, 0, 0, 1, true, cmd_upgrade },
	{ "init", "", "Make a store and a mesh",
	  "This device becomes the mesh's first admin. `shoal up` does it, too, when there is no store.",
	  init_options, INIT_COUNT, 0, 0, true, cmd_init },
	{ "mount", "DIR", "Serve an existing store at DIR", NULL, mount_options, MOUNT_COUNT, 1, 1,
	  true, cmd_mount },
	{ "umount", "DIR", "Stop serving DIR", NULL, NULL, 0, 1, 1, true, cmd_umount },
	{ "invite", "", "Print a token that lets another device in",
	  "Only the token goes to standard output. Whoever has it can join as long as it works, so\n"
	  "hand it over as you would a key.",
	  invite_options, INVITE_COUNT, 0, 0, true, cmd_invite },
	{ "join", "TOKEN|-", "Enter the inviter's mesh",
	  "Makes the store. With - the token is read from standard input, so that no list of\n"
	  "processes shows it. Afterwards `shoal up` serves the directory.",
	  join_options, JOIN_COUNT, 1, 1, true, cmd_join },
	{ "status", "", "Show the state of store, mount and sync", NULL, NULL, 0, 0, 0, true, cmd_status },
	{ "peers", "", "Show who is here, and how far behind",
	  "With --graph also who is reachable through those who are here, as they and others say: nobody\n"
	  "vouches for what is marked as hearsay.\n\n"
	  "    shoal peers --dot | dot -Tsvg > mesh.svg",
	  peers_options, PEERS_COUNT, 0, 0, true, cmd_peers },
	{ "devices", "", "Show the devices of the mesh that were met", NULL, NULL, 0, 0, 0, true,
	  cmd_devices },
	{ "connect", "HOST[:PORT]", "Keep connecting to a fixed address", NULL, NULL, 0, 1, 1, true,
	  cmd_connect },
	{ "disconnect", "HOST[:PORT]", "Forget a fixed address", NULL, NULL, 0, 1, 1, true,
	  cmd_disconnect },
	{ "evict", "PATH...", "Drop contents that others hold, and keep the names",
	  "The files stay where they are, with their sizes, and reading one fetches it again. Nothing goes\n"
	  "that no device which is connected says it holds; other devices keep what they have. Documents and\n"
	  "texts stay.",
	  NULL, 0, 1, MANY, true, cmd_evict },
	{ "fetch", "PATH...", "Bring contents back",
	  "Returns when they are here. What no device that is connected has comes when one is met.", NULL, 0, 1,
	  MANY, true, cmd_fetch },
	{ "wait", "[PATH...]", "Wait until others hold what this device holds",
	  "Returns once N devices (default 1) hold everything durably that is in PATH (default: all)\n"
	  "when asked. Exit code 3 when the time is over.",
	  wait_options, WAIT_COUNT, 0, MANY, true, cmd_wait },
	{ "watch", "[PATH...]", "Print a JSON object for each change",
	  "With --where only of files that match an expression, as in `shoal subscribe`, or did before;\n"
	  "match says whether they enter, leave or stay.\n\n"
	  "    shoal watch --where \"status = 'open'\" orders",
	  watch_options, WATCH_COUNT, 0, MANY, true, cmd_watch },
	{ "cat", "PATH[@VERSION]", "Print a file, or an earlier version of it",
	  "With or without a mount. VERSION is four or more digits of what `shoal log` lists.",
	  NULL, 0, 1, 1, false, cmd_cat },
	{ "log", "[PATH]", "List the versions of a file, or what was deleted",
	  "The versions that this device held, the newest first; of a deleted file, too. With --deleted,\n"
	  "what was deleted below PATH (default: everywhere), the latest first.",
	  log_options, LOG_COUNT, 0, 1, true, cmd_log },
	{ "diff", "PATH [V1 [V2]]", "Compare two versions of a file",
	  "From V1 (default: the one before) to V2 (default: the newest). Documents by JSON pointer,\n"
	  "texts by lines; of other files the sizes.",
	  NULL, 0, 1, 3, true, cmd_diff },
	{ "restore", "PATH[@VERSION]", "Bring back a version, or what was deleted",
	  "An earlier version is saved again on top of what is there. A deleted file comes back with\n"
	  "its last content, a deleted directory with what was deleted along with it.",
	  restore_options, RESTORE_COUNT, 1, 2, true, cmd_restore },
	{ "blame", "PATH", "Show who last wrote which values or lines of a file", NULL, NULL, 0, 1, 1, true, cmd_blame },
	{ "conflicts", "[PATH]", "List values that lost against others",
	  "Where people who had not seen each other's wrote different values, all devices show the same\n"
	  "one of them; the others are kept until somebody who saw them writes there. This lists them,\n"
	  "in PATH (default: everywhere), with an ID for `shoal resolve`:\n\n"
	  "    cars/7.json\n"
	  "        /doors  3  shown       ana  2026-11-22 10:04:31\n"
	  "                5  9bfbb54659  ben  2026-11-22 10:04:12\n\n"
	  "They are files, too: .shoal/conflicts/PATH/ID in the mount. Times are UTC.",
	  NULL, 0, 0, 1, true, cmd_conflicts },
	{ "resolve", "PATH [POINTER]", "Take a value back that lost, or keep what is shown",
	  "Ends a conflict on all devices, as a save in PATH would. What somebody wrote meanwhile\n"
	  "elsewhere is not lost but a new conflict. POINTER is a place that `shoal conflicts` lists;\n"
	  "without one --keep means all of the file, and --take finds the place by its ID.\n\n"
	  "    shoal resolve cars/7.json --take 9bfbb54659      doors is 5 again\n"
	  "    shoal resolve cars/7.json /doors --keep          doors stays 3\n"
	  "    shoal resolve cars/7.json --keep                 so does all else",
	  resolve_options, RESOLVE_COUNT, 1, 2, true, cmd_resolve },
	{ "txn", "", "Change several files at once, all or none",
	  "Reads JSON lines from standard input, each one of\n\n"
	  "    {\"put\": PATH, \"value\": JSON}      the document is this now, or it is new\n"
	  "    {\"patch\": PATH, \"ops\": [...]}     JSON Patch (RFC 6902)\n"
	  "    {\"merge\": PATH, \"value\": JSON}    JSON Merge Patch (RFC 7396)\n"
	  "    {\"delete\": PATH}\n\n"
	  "with \"if\": VERSION for what has to be there before, or \"if\": null for nothing. PATH counts\n"
	  "from the root; its directory has to be there. What is saved is merged field by field with what\n"
	  "others do meanwhile, and no device ever shows a part of it. At most 1,000 lines at a time.",
	  NULL, 0, 0, 0, true, cmd_txn },
	{ "query", "[SQL]", "Ask in SQL about the documents of collections",
	  "Each collection is a table with a row for each document in it and below: _id is its path there\n"
	  "without .json, _path that from the root, _mtime, _version, and body the document. Members are\n"
	  "body ->> '$.name'. A directory further down is a table, too: \"cars/old\". Without SQL, or with -,\n"
	  "it comes from standard input. All is of one moment; nothing is changed.\n\n"
	  "    shoal query \"SELECT _id, body ->> '$.doors' FROM cars WHERE body ->> '$.maker' = 'vw'\"\n"
	  "    shoal query --param n=4 --format csv \"SELECT _id FROM cars WHERE body ->> 'doors' > :n\"\n"
	  "    shoal query \"EXPLAIN SELECT ...\"                 how it would be answered\n"
	  "    shoal query --watch \"SELECT _id, body FROM cars\"  JSON lines, more with each change\n\n"
	  "shoal-query(7) has all of it.",
	  query_options, QUERY_COUNT, 0, 1, true, cmd_query },
	{ "index", "COLLECTION POINTER... | --list", "Have queries find documents by what they have",
	  "A list of the collection's documents by what they have at a place, or at up to 8 of them, sorted by\n"
	  "the first, then by the next. It belongs to this device; a new one is made while everything goes on.\n\n"
	  "    shoal index cars /maker\n"
	  "    shoal index cars /maker /doors\n"
	  "    shoal index --drop cars /maker\n\n"
	  "POINTER is a JSON pointer: /owner/city, /tags/0. shoal-query(7) has all of it.",
	  index_options, INDEX_COUNT, 0, 9, true, cmd_index },
	{ "import", "FILE|DIR|- [TO]", "Bring in JSON lines, CSV, or a directory",
	  "Each line of FILE.jsonl, or row of FILE.csv below the header, is a document in the directory TO of\n"
	  "the store (default: named as FILE). It is named by its member id or _id, or as --id says, or else\n"
	  "by its number. A directory is copied as it is, with files of all kinds, permissions and times.\n\n"
	  "    shoal import cars.csv                    cars/7.json, cars/8.json...\n"
	  "    shoal import - till/2026 --format jsonl --id /receipt/number\n\n"
	  "What is there already stays as it is, so do it again after it broke off, or with a newer file.",
	  import_options, IMPORT_COUNT, 1, 2, true, cmd_import },
	{ "export", "PATH [FILE|DIR]", "Write out documents as JSON lines or CSV, or a directory",
	  "All documents below PATH, a directory of the store, to FILE.jsonl, FILE.csv or FILE.tsv, or as JSON\n"
	  "lines to standard output. FILE is there when it is whole. To a directory, which is made, files of\n"
	  "all kinds are copied as they are; those that are there already are passed over.",
	  export_options, EXPORT_COUNT, 1, 2, true, cmd_export },
	{ "type", "COLLECTION [POINTER [TYPE]]", "Declare how values merge, or show what is declared",
	  "COLLECTION is a directory at the top, with all below it; . are the documents just at the top.\n"
	  "POINTER is a JSON pointer; * in it stands for any member or element. TYPE is one of\n\n"
	  "    counter      what each save adds is added up\n"
	  "    list         an array that merges element by element, numbers included\n"
	  "    set          the same; no value is there twice\n"
	  "    keyed:FIELD  the same; objects of one FIELD are one object\n"
	  "    text         a string that merges by lines, words and characters\n"
	  "    register     an array or value that merges as a whole\n"
	  "    default      takes the declaration back\n\n"
	  "    shoal type cars /stock counter       from 10 to 7 and from 10 to 9 is 6 in the end\n"
	  "    shoal type cars '/parts/*/tags' set\n\n"
	  "It holds on all devices. What is stored stays as it is, and changing it loses nothing.",
	  NULL, 0, 1, 3, true, cmd_type },
	{ "subscribe", "COLLECTION | --new", "Keep a collection on this device",
	  "A device keeps everything until it is told otherwise. What comes back comes from the devices\n"
	  "that have it.\n\n"
	  "With --where only documents for which an expression of SQLite is true: names in it are members of\n"
	  "the document. shoal-format(7) has all about it.\n\n"
	  "    shoal subscribe photos\n"
	  "    shoal subscribe cars --where \"status = 'open' AND doors > 3\"",
	  subscribe_options, SUBSCRIBE_COUNT, 0, 1, true, cmd_subscribe },
	{ "unsubscribe", "COLLECTION | --new", "Do not keep a collection on this device",
	  "Its directory stays, empty and read-only; nothing is deleted on other devices. What is here of it\n"
	  "leaves this device once another one that subscribes to it is known to hold all of it. While\n"
	  "neighbours want the collection, this device carries it for them, unseen, within courier.quota.\n\n"
	  "    shoal unsubscribe photos",
	  unsubscribe_options, UNSUBSCRIBE_COUNT, 0, 1, true, cmd_unsubscribe },
	{ "subscriptions", "", "List what this device keeps", NULL, NULL, 0, 0, 0, true, cmd_subscriptions },
	{ "config", "[KEY [VALUE]]", "Show or change settings",
	  "Without VALUE shows a setting, without KEY all. An empty VALUE brings the default back.",
	  NULL, 0, 0, 2, true, cmd_config },
	{ "log-level", "[LEVEL]", "Show or change how much the daemon logs",
	  "error, warning, info or debug; until the daemon ends. `shoal config log.level` is for good.",
	  NULL, 0, 0, 1, true, cmd_log_level },
	{ "doctor", "", "Say what is wrong with this machine, and what mends it", NULL, NULL, 0, 0, 0,
	  true, cmd_doctor },
	{ "verify", "", "Check every record, hash and index", NULL, verify_options, VERIFY_COUNT, 0, 0,
	  true, cmd_verify },
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void help(void)
{
	puts("Usage: shoal [--store DIR] COMMAND [OPTION...] [ARGUMENT...]\n\n"
	     "A directory that stays in step with the same directory on other devices.\n\nCommands:");
	for (unsigned i = 0; i < COMMANDS; i++)
		printf("  %-14s%s\n", commands[i].name, commands[i].summary);
	puts("\n`shoal COMMAND --help` tells more; so does shoal(1). Every command takes --store DIR;\n"
	     "the default is $SHOAL_STORE, the store of the mount that the current directory is in,\n"
	     "or ~/.local/share/shoal.");
}

/* `shoal help COMMAND` is `shoal COMMAND --help`. */
static void turn_help(int argc, char **argv)
{
	static char option[] = "--help";
	if (argc < 2 || strcmp(argv[1], "help") != 0)
		return;
	argv[1] = argc > 2 ? argv[2] : option;
	if (argc > 2)
		argv[2] = option;
}

static int run(struct cli *c, int argc, char **argv)
{
	struct err e = { 0 };
	turn_help(argc, argv);
	int r = cmdline_parse(commands, COMMANDS, argc, argv, &c->line, &e);
	if (r < 0)
		return cli_usage(c, "%s", e.message);
	if (c->line.version) {
		puts("shoal " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	if (c->line.help && c->line.command) {
		_cleanup_(buf_done) struct buf b = { 0 };
		cmdline_help("shoal", c->line.command, &b);
		fputs(buf_cstr(&b), stdout);
		return EXIT_DONE;
	}
	if (c->line.help) {
		help();
		return EXIT_DONE;
	}
	if (!c->line.command)
		return cli_usage(c, "a command is missing");
	return c->line.command->run(c);
}

int main(int argc, char **argv)
{
	struct cli c = { 0 };
	const char *term = getenv("TERM");
	c.terminal = isatty(STDOUT_FILENO);
	c.escapes = c.terminal && term && strcmp(term, "dumb") != 0;
	c.colour = c.escapes && !getenv("NO_COLOR");
	int status = run(&c, argc, argv);
	if (fflush(stdout) != 0 && status == EXIT_DONE)
		status = EXIT_FAILED;
	cmdline_done(&c.line);
	buf_done(&c.store);
	return status;
}
