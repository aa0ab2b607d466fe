# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for shoal(1). tests/check-completion compares it with shoal --help.

# The command's options, one word each; those that take a value end in "=".
_shoal_options() {
	case $1 in
	up) echo '--foreground --options= --name=' ;;
	init) echo '--mesh= --device=' ;;
	mount) echo '--options=' ;;
	invite) echo '--role= --expires= --uses= --qr' ;;
	join) echo '--device= --address= --timeout=' ;;
	wait) echo '--peers= --device= --timeout=' ;;
	peers) echo '--graph --dot' ;;
	resolve) echo '--take= --keep' ;;
	log) echo '--deleted' ;;
	restore) echo '--to=' ;;
	subscribe) echo '--new --where=' ;;
	watch) echo '--where=' ;;
	unsubscribe) echo '--force --new' ;;
	query) echo '--format= --param= --watch --since=' ;;
	index) echo '--drop --list' ;;
	verify) echo '--repair' ;;
	import) echo '--format= --id= --text --from= --keep-going' ;;
	export) echo '--format=' ;;
	esac
	case $1 in
	'' | cat) ;;
	*) echo '--json' ;;
	esac
	echo '--help --version --store='
}

_shoal_commands='blame cat config conflicts connect devices diff disconnect doctor down evict export fetch import
	index init invite join log log-level mount peers query resolve restore status subscribe subscriptions txn type
	umount unsubscribe up upgrade verify wait watch'

_shoal_names() { # _shoal_names COMMAND: the names that its --json lists
	timeout 1 shoal ${store:+--store "$store"} "$1" --json 2>/dev/null |
		grep -oE '"(name|device)" *: *"[^"]*"' | sed 's/.*: *"//; s/"$//'
}

_shoal_losers() { # the identifiers that may be taken
	timeout 1 shoal ${store:+--store "$store"} conflicts --json 2>/dev/null |
		grep -oE '"id":"[0-9a-f]{10}"' | sed 's/.*:"//; s/"$//'
}

_shoal() {
	local word=${COMP_WORDS[COMP_CWORD]} before='' command='' store='' i i_command=0 option
	[ "$COMP_CWORD" -gt 0 ] && before=${COMP_WORDS[COMP_CWORD - 1]}
	# bash breaks --name=value at the "=".
	if [ "$word" = = ]; then
		word=''
	elif [ "$before" = = ] && [ "$COMP_CWORD" -gt 2 ]; then
		before=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--store) store=${COMP_WORDS[++i]} && [ "$store" = = ] && store=${COMP_WORDS[++i]} ;;
		-* | =) ;;
		*) [ -n "$command" ] || command=${COMP_WORDS[i]} i_command=$i ;;
		esac
	done

	case $before in
	--store)
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		compopt -o filenames 2>/dev/null
		return
		;;
	--to)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		compopt -o filenames 2>/dev/null
		return
		;;
	--format)
		option='jsonl csv tsv'
		[ "$command" = query ] && option='table json jsonl csv'
		mapfile -t COMPREPLY < <(compgen -W "$option" -- "$word")
		return
		;;
	--role)
		mapfile -t COMPREPLY < <(compgen -W 'admin member' -- "$word")
		return
		;;
	--take)
		mapfile -t COMPREPLY < <(compgen -W "$(_shoal_losers)" -- "$word")
		return
		;;
	--device)
		[ "$command" = wait ] &&
			mapfile -t COMPREPLY < <(compgen -W "$(_shoal_names devices)" -- "$word")
		return
		;;
	esac
	for option in $(_shoal_options "$command"); do
		[ "$option" = "$before=" ] && return
	done

	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_shoal_options "$command")" -- "$word")
		[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace 2>/dev/null
		return
	fi
	case $command in
	'') mapfile -t COMPREPLY < <(compgen -W "$_shoal_commands" -- "$word") ;;
	index)
		if ((COMP_CWORD - i_command == 1)); then
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
			compopt -o filenames 2>/dev/null
		fi
		;;
	type)
		case $((COMP_CWORD - i_command)) in
		1)
			mapfile -t COMPREPLY < <(compgen -d -- "$word")
			compopt -o filenames 2>/dev/null
			;;
		3) mapfile -t COMPREPLY < <(compgen -W 'counter default keyed: list register set text' -- "$word") ;;
		esac
		;;
	up | down | mount | umount | subscribe | unsubscribe)
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		compopt -o filenames 2>/dev/null
		;;
	blame | cat | conflicts | diff | evict | export | fetch | import | log | resolve | restore | upgrade | wait | watch)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		compopt -o filenames 2>/dev/null
		;;
	esac
}

complete -F _shoal shoal
