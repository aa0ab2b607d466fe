# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way of saving a document, by the program that does it, and the moments of a save at which
something may arrive from elsewhere. Programs are stopped before the system call that a moment is
defined by (callgate.py): nothing here depends on how fast they are."""
import os
import shlex
import shutil
import textwrap

import callgate

# Three lines that differ do not touch: patch and git merge by lines.
START = {"title": "draft", "tags": ["a", "b"], "owner": {"name": "ann", "age": 30},
         "notes": [{"id": 1, "text": "x"}, {"id": 2, "text": "y"}], "more": None, "count": 1}
EDITED = "edited here"
OUTSIDE = "$OUT/copy.json"

# When the other field changes: before the program starts; when it has read the document and begins
# to write; when the document is empty, renamed aside or removed and not yet written again; when
# all is written and waits for the rename, the close or the sync; when the program has ended.
MOMENTS = ("before", "read", "emptied", "written", "after")


class Program:
    """name: of the test. script: for bash, in the document's directory, with $OUT for what is
    elsewhere and $E for the new title. atomic: it renames a new file over the document, so there
    is no moment at which that is empty. title: what it changes the title to. leaves: what stays
    in the directory, on this device only. passing: names that may settle, and be seen elsewhere,
    before they are renamed. attributes: it sets times or modes of the document itself. lazy:
    when there is nothing to be changed it writes nothing. restyles: it writes all of the document
    its own way."""

    def __init__(self, name, script, *needs, atomic=False, title=EDITED, leaves=(), passing=(),
                 attributes=False, lazy=False, restyles=False):
        self.name, self.script, self.needs = name, textwrap.dedent(script), needs
        self.title, self.leaves, self.passing = title, set(leaves), set(passing)
        self.attributes, self.lazy, self.restyles = attributes, lazy, restyles
        self.moments = [moment for moment in MOMENTS if not (atomic and moment == "emptied")]

    def run(self, directory, elsewhere, moment, title=None):
        """Edits the document in the directory. moment: is called before each call (callgate.py)."""
        missing = [tool for tool in self.needs if not shutil.which(tool)]
        assert not missing, f"not installed: {missing}"
        result = callgate.run(["bash", "-e", "-c", self.script], str(directory), moment,
                              cwd=directory,
                              env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm",
                                   "E": title or self.title, "OUT": str(elsewhere)})
        assert result.returncode == 0, result.stdout


def vim(settings):
    """Typed into a terminal, as by a person who is asked and says yes. (Unless they are told to,
    vim and emacs make no backups of what is below /tmp.)"""
    return f"""
        expect -c '
            set timeout 20
            log_user 0
            spawn vim -N -u NONE -i NONE -c "set backupskip= {settings}" d.json
            send ":%s/draft/$env(E)/\\r"
            send ":w!\\r"
            expect {{
                "y/n" {{ send "y\\r"; exp_continue }}
                "oad File" {{ send "o\\r"; exp_continue }}
                "written" {{ }}
            }}
            send ":q!\\r"
            expect eof'
    """


def nano(options=""):
    return f"""
        expect -c '
            set timeout 20
            log_user 0
            spawn nano --ignorercfiles {options} d.json
            expect "draft"
            send "\\x1c"
            expect "Search"
            send "draft\\r"
            expect "Replace with"
            send "$env(E)\\r"
            expect "instance"
            send "y"
            expect "eplaced"
            send "\\x0f"
            expect {{
                "File Name" {{ send "\\r"; exp_continue }}
                "was modified" {{ send "y"; exp_continue }}
                "has changed" {{ send "y"; exp_continue }}
                "changed on disk" {{ send "y"; exp_continue }}
                "Wrote" {{ }}
            }}
            send "\\x18"
            expect {{
                "odified buffer" {{ send "n"; exp_continue }}
                eof {{ }}
            }}'
    """


def emacs(*forms):
    more = " ".join(f"--eval '{form}'" for form in forms)
    return f"""
        emacs -Q --batch --eval "(setq backup-enable-predicate 'identity)" {more} \\
            --eval '(find-file "d.json")' \\
            --eval '(while (search-forward "draft" nil t) (replace-match (getenv "E")))' \\
            --eval '(set-visited-file-modtime)' --eval '(save-buffer)'
    """


def python(body):
    """Its own process; d is the path, edited() makes the new text of an old one."""
    head = """
        import json, os, sys
        d, E = "d.json", os.environ["E"]
        def edited(text):
            document = json.loads(text)
            document["title"] = E
            return json.dumps(document, indent=2) + "\\n"
    """
    return ("/usr/bin/python3 -c " +
            shlex.quote(textwrap.dedent(head) + textwrap.dedent(body)) + "\n")


def kate(body):
    """Around the save there is a swap file."""
    begin = """
        fd = os.open(d, os.O_RDONLY | os.O_CLOEXEC)
        text = edited(os.read(fd, 65536))
        os.close(fd)
        swap = os.open(".d.json.kate-swp", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(swap, b"Kate Swap File 2.0")
        os.fsync(swap)
    """
    end = """
        os.close(swap)
        os.unlink(".d.json.kate-swp")
    """
    return python("".join(map(textwrap.dedent, (begin, body, end))))


def node(body):
    head = """
        const fs = require("fs");
        const edited = () => {
            const document = JSON.parse(fs.readFileSync("d.json", "utf8"));
            document.title = process.env.E;
            return JSON.stringify(document, null, 2) + "\\n";
        };
    """
    return "node -e " + shlex.quote(head + body) + "\n"


def outside(then):
    """The document is copied out, edited there and brought back."""
    return f"""
        cp d.json {OUTSIDE}
        sed -i "s/draft/$E/" {OUTSIDE}
        {then}
    """


def difference(then):
    """The document is copied out, and the difference to what it is to be applied."""
    return f"""
        cp d.json $OUT/old
        sed "s/draft/$E/" $OUT/old > $OUT/new
        diff -u --label d.json --label d.json $OUT/old $OUT/new > $OUT/difference || true
        {then}
    """


def rsync(name, options, **more):
    return Program(name, outside(f"rsync -a {options} {OUTSIDE} d.json"), "rsync",
                   **{"atomic": True, "attributes": True, "lazy": True, **more})


PROGRAMS = [
    Program("vim-aside", vim("backupcopy=auto"), "vim", "expect"),
    Program("vim-aside-keeping", vim("backupcopy=no backup"), "vim", "expect", leaves=["d.json~"]),
    Program("vim-in-place", vim("nowritebackup"), "vim", "expect"),
    Program("vim-copy", vim("backupcopy=yes writebackup"), "vim", "expect"),
    Program("vim-copy-keeping", vim("backupcopy=yes backup"), "vim", "expect", leaves=["d.json~"]),
    Program("nano", nano(), "nano", "expect"),
    Program("nano-B", nano("-B"), "nano", "expect", leaves=["d.json~"]),
    Program("emacs", emacs(), "emacs", leaves=["d.json~"]),
    Program("emacs-copy", emacs("(setq backup-by-copying t)"), "emacs", leaves=["d.json~"]),
    Program("emacs-no-backup", emacs("(setq make-backup-files nil)"), "emacs"),
    Program("emacs-precious", emacs("(setq file-precious-flag t)"), "emacs", atomic=True,
            attributes=True, leaves=["d.json~"]),
    Program("ed", 'printf "%s\\n" "g/draft/s/draft/$E/" w q | ed -s d.json', "ed"),
    Program("sed", 'sed -i "s/draft/$E/" d.json', atomic=True),
    Program("sed-backup", 'sed -i~ "s/draft/$E/" d.json', leaves=["d.json~"]),
    Program("perl", 'perl -i -pe "s/draft/$E/" d.json', atomic=True),
    Program("perl-backup", 'perl -i~ -pe "s/draft/$E/" d.json', leaves=["d.json~"], atomic=True),
    Program("jq-mv", 'jq ".title=env.E" d.json > t && mv t d.json', "jq", atomic=True,
            passing=["t"]),
    Program("jq-mv-json", 'jq ".title=env.E" d.json > new.json && mv new.json d.json', "jq",
            atomic=True, passing=["new.json"]),
    Program("sponge", 'jq ".title=env.E" d.json | sponge d.json', "jq", "sponge"),
    Program("redirection", 'x=$(jq ".title=env.E" d.json); echo "$x" > d.json', "jq"),
    Program("tee", 'x=$(cat d.json); echo "${x/draft/$E}" | tee d.json'),
    Program("python-dump", python("""
        document = json.load(open(d))
        document["title"] = E
        with open(d, "w") as f:
            json.dump(document, f, indent=2)
            f.write("\\n")
    """)),
    Program("python-one-handle", python("""
        with open(d, "r+") as f:
            text = edited(f.read())
            f.seek(0)
            f.truncate()
            f.write(text)
    """)),
    Program("python-replace", python("""
        import tempfile
        text = edited(open(d).read())
        with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as f:
            f.write(text)
        os.replace(f.name, d)
    """), atomic=True, attributes=True),
    Program("python-mmap", python("""
        import mmap
        with open(d, "r+b") as f, mmap.mmap(f.fileno(), 0) as view:
            at = view.find(b"draft")
            open("now.tmp", "w").close()  # a call between reading and writing
            os.unlink("now.tmp")
            view[at:at + 5] = E.encode()
            view.flush()
    """), atomic=True, title="edits"),
    Program("python-exchange", python("""
        import ctypes
        text = edited(open(d).read())
        with open("tmpAb12Cd", "x") as f:
            f.write(text)
        libc = ctypes.CDLL(None)
        assert libc.renameat2(-100, b"tmpAb12Cd", -100, b"d.json", 2) == 0
        os.unlink("tmpAb12Cd")
    """), atomic=True),
    Program("node", node('const text = edited(); fs.writeFileSync("d.json", text)'), "node"),
    Program("node-atomic", node("""
        const text = edited();
        const fd = fs.openSync("d.json.1234567", "w");
        fs.writeSync(fd, text);
        fs.fsyncSync(fd);
        fs.closeSync(fd);
        fs.renameSync("d.json.1234567", "d.json");
    """), "node", atomic=True, passing=["d.json.1234567"]),
    # Each call by another thread of the same process.
    Program("node-async", node("""
        const io = fs.promises;
        io.readFile("d.json", "utf8").then(text => {
            const document = JSON.parse(text);
            document.title = process.env.E;
            return io.writeFile("d.json", JSON.stringify(document, null, 2) + "\\n");
        });
    """), "node"),
    Program("sqlite", """
        sqlite3 :memory: "select writefile('d.json',
            json_set(readfile('d.json'), '$.title', '$E'))"
    """, "sqlite3", restyles=True),
    Program("cp", outside(f"cp {OUTSIDE} d.json")),
    Program("cp-remove", outside(f"cp --remove-destination {OUTSIDE} d.json")),
    Program("cp-inside", """
        cp d.json work.tmp
        sed -i "s/draft/$E/" work.tmp
        cp work.tmp d.json
        rm work.tmp
    """),
    Program("cat", outside(f"cat {OUTSIDE} > d.json")),
    Program("dd", outside(f"dd if={OUTSIDE} of=d.json status=none")),
    Program("install", outside(f"install -m 644 {OUTSIDE} d.json"), attributes=True),
    Program("install-backup", outside(f"install -b -m 644 {OUTSIDE} d.json"), leaves=["d.json~"],
            attributes=True),
    Program("mv", outside(f"mv {OUTSIDE} d.json"), attributes=True),
    Program("tar", outside("tar -C $OUT --transform s/copy/d/ -c copy.json | tar -x"),
            attributes=True),
    Program("patch", difference("patch -s d.json $OUT/difference"), "patch", atomic=True,
            lazy=True),
    rsync("rsync", ""),
    rsync("rsync-delta", "--no-whole-file"),
    rsync("rsync-backup", "-b", leaves=["d.json~"]),
    rsync("rsync-delay", "--delay-updates", passing=[".~tmp~", ".~tmp~/d.json"]),
    rsync("rsync-inplace", "--inplace", atomic=False),
    Program("gio", 'x=$(cat d.json); echo "${x/draft/$E}" | gio save d.json', "gio", atomic=True),
    Program("gio-backup", 'x=$(cat d.json); echo "${x/draft/$E}" | gio save -b d.json', "gio",
            atomic=True, leaves=["d.json~"]),
    # Programs that want a screen: their calls as strace told them.
    Program("vscode", python("""
        fd = os.open(d, os.O_RDONLY | os.O_CLOEXEC)
        text = edited(os.read(fd, 65536))
        os.close(fd)
        fd = os.open(d, os.O_RDWR | os.O_CLOEXEC)
        os.ftruncate(fd, 0)
        os.pwrite(fd, text.encode(), 0)
        os.fdatasync(fd)
        os.close(fd)
    """)),
    Program("vscode-atomic", python("""
        fd = os.open(d, os.O_RDONLY | os.O_CLOEXEC)
        text = edited(os.read(fd, 65536))
        os.close(fd)
        fd = os.open(d + ".vsctmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        os.pwrite(fd, text.encode(), 0)
        os.fdatasync(fd)
        os.close(fd)
        os.rename(d + ".vsctmp", d)
    """), atomic=True),
    Program("kate", kate("""
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o644)
        os.write(fd, text.encode())
        os.fdatasync(fd)
        unnamed = f"/proc/self/fd/{fd}"
        try:
            os.link(unnamed, d, src_dir_fd=fd)
        except FileExistsError:
            os.link(unnamed, d + ".AbC1dE", src_dir_fd=fd)
            os.rename(d + ".AbC1dE", d)
        os.close(fd)
    """), atomic=True),
    # On kernels before 6.2 there are no files without a name here.
    Program("kate-named", kate("""
        fd = os.open(d + ".AbC1dE", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o644)
        os.write(fd, text.encode())
        os.fdatasync(fd)
        os.close(fd)
        os.rename(d + ".AbC1dE", d)
    """), atomic=True),
    Program("obsidian", python("""
        fd = os.open(d, os.O_RDONLY | os.O_CLOEXEC)
        text = edited(os.read(fd, 65536)).encode()
        os.close(fd)
        fd = os.open(d, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        os.write(fd, text[:40])
        os.write(fd, text[40:])
        os.close(fd)
        os.utime(d)
    """), attributes=True),
    Program("libreoffice", """
        cp d.json $OUT/d.txt
        sed -i "s/draft/$E/" $OUT/d.txt
        HOME=$OUT soffice --headless --convert-to "json:Text (encoded):ISO_8859_1,LF" \\
            --outdir . $OUT/d.txt
    """, "soffice", atomic=True, attributes=True),
    Program("git-apply", difference("git apply -p0 $OUT/difference"), "git", lazy=True),
    # A fast-forward to a commit that was made without the working tree.
    Program("git-merge", """
        export GIT_DIR=$OUT/git GIT_WORK_TREE=$PWD GIT_CONFIG_GLOBAL=/dev/null
        export GIT_{AUTHOR,COMMITTER}_NAME=a GIT_{AUTHOR,COMMITTER}_EMAIL=a@b
        git -c init.defaultBranch=main init -q
        git config safe.directory "*"
        git add d.json
        git commit -qm one
        blob=$(git show HEAD:d.json | sed "s/draft/$E/" | git hash-object -w --stdin)
        tree=$(printf "100644 blob $blob\td.json" | git mktree)
        git merge -q $(git commit-tree $tree -p HEAD -m edit)
    """, "git", lazy=True),
]


class Moment:
    """Is called before each call of a program, and calls change() when the moment has come. As a
    context it does so at the beginning and the end, too."""

    def __init__(self, when, document, change):
        self.when, self.path, self.change = when, str(document), change
        self.looked = self.emptied = self.done = False
        self.written = set()
        self.seen = []

    def __enter__(self):
        if self.when == "before":
            self.do()
        return self

    def __exit__(self, failure, *_):
        if failure is None and self.when == "after":
            self.do()
        told = "\n".join(map(str, self.seen))
        print(told)  # for whoever looks at a failed test
        assert failure or self.done, f"the moment {self.when!r} did not come:\n{told}"

    def do(self):
        self.done = True
        self.change()

    def __call__(self, call):
        self.seen.append(call)
        if not self.done and self.has_come(call):
            self.do()
        if call.does == "look" and call.path == self.path and call.name != "openat":
            self.looked = True
        elif call.name == "msync":
            self.written.add(self.path)
        elif call.does == "write" and call.name != "ftruncate":
            self.written.add(call.path)
        elif call.does == "name" and call.path in self.written:
            self.written.add(call.other)
        self.emptied |= call.path == self.path and (
            call.does in ("empty", "name") or call.name == "ftruncate")

    def has_come(self, call):
        if self.when == "read":
            return self.looked and call.does in ("open", "empty", "write", "name")
        if self.when == "emptied":
            return self.emptied
        if self.when == "written" and call.does == "name":
            return call.other == self.path and call.path in self.written
        return self.when == "written" and self.path in self.written and \
            call.does == "done" and call.path in (self.path, "")
