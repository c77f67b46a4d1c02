# shellcheck shell=bash
# Completion of cairn for bash. The command itself knows what fits (cairn complete), so nothing here names a verb.
_cairn() {
  local line=${COMP_LINE:0:COMP_POINT} word candidate before='' candidates=()
  mapfile -t candidates < <(cairn complete --line "$line" 2>/dev/null)
  # bash ends words at ':' and '=', so what stands before them is on the line already.
  word=${line##*[[:space:]]}
  case $word in
  *[:=]*) before=${word%"${word##*[:=]}"} ;;
  esac
  COMPREPLY=()
  for candidate in "${candidates[@]}"; do
    candidate=${candidate%%$'\t'*}
    candidate=${candidate#"$before"}
    case $word in
    [\"\']*) COMPREPLY+=("$candidate") ;;
    *) COMPREPLY+=("$(printf %q "$candidate")") ;;
    esac
  done
  if [ ${#COMPREPLY[@]} -eq 1 ] && [[ ${COMPREPLY[0]} == */ ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o bashdefault -o default -F _cairn cairn
