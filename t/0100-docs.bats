# The manual, the help and the tables say the same.

setup() {
  load lib/cairn.bash
  cd "$CAIRN_SOURCE" || return 1
}

# Long options named in a text.
options() { grep -oE -- '(^|[^a-zA-Z0-9-])--[a-z][a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u; }
# A manual page as plain text, without hyphenation.
page() { mandoc -T ascii -O width=200 "$1" | col -b; }

@test "cairnd --help and cairnd(8) have the same options" {
  requires_program mandoc
  run diff <(cairnd --help | options) <(page man/cairnd.8 | options)
  [ "$status" -eq 0 ] || { echo "$output"; false; }
}

@test "cairnd --print-config and cairnd.conf(5) have the same settings" {
  requires_program mandoc
  page man/cairnd.conf.5 >"$cairn_root/page"
  cairnd --print-config | sed -nE 's/^[#; ]*([a-z][a-z0-9-]*) *=.*/\1/p' | sort -u >"$cairn_root/keys"
  [ -s "$cairn_root/keys" ]
  while read -r key; do
    grep -qwF -- "$key" "$cairn_root/page" || { echo "cairnd.conf(5) lacks '$key'"; false; }
  done <"$cairn_root/keys"
}

@test "what cairnd --print-config prints is a configuration that cairnd takes" {
  cairnd --print-config >"$cairn_root/c.conf"
  run cairnd --config "$cairn_root/c.conf" --print-config
  [[ $output != *"built without support for configuration files"* ]] || skip "configuration files are not part of this build"
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  diff <(echo "$output") "$cairn_root/c.conf"
}

@test "cairnfs --help and cairnfs(8) have the same options" {
  requires_program mandoc
  command -v cairnfs >/dev/null || skip "cairnfs is not part of this build"
  page man/cairnfs.8 >"$cairn_root/page"
  run diff <(cairnfs --help | options) <(options <"$cairn_root/page")
  [ "$status" -eq 0 ] || { echo "$output"; false; }
  for name in $(cairnfs --help | sed -nE 's/^ +-o ([a-z_]+).*/\1/p'); do
    grep -qw -- "$name" "$cairn_root/page" || { echo "cairnfs(8) lacks -o $name"; false; }
  done
}

@test "every parameter of every plugin stands in its manual page and its README" {
  requires_program mandoc
  cairn_node -o volume.engine=memory
  for plugin in $(cairn --json plugin list | jq -r '.. | objects | select(.type? == "engine") | .name'); do
    folder=plugins/engine-$plugin
    [ -d "$folder" ] || continue
    page "$folder/cairn-engine-$plugin.7" >"$cairn_root/page"
    for name in $(cairn --json plugin show "$plugin" | jq -r '.parameters[]?.name'); do
      grep -qwF -- "$name" "$cairn_root/page" || { echo "cairn-engine-$plugin(7) lacks '$name'"; false; }
      grep -qwF -- "$name" "$folder/README.md" || { echo "$folder/README.md lacks '$name'"; false; }
    done
  done
}

@test "every manual page is well formed" {
  requires_program mandoc
  for file in man/*.[1-8] plugins/*/*.[1-8]; do
    run mandoc -T lint -W warning "$file"
    [ "$status" -eq 0 ] || { echo "$output"; false; }
  done
}

@test "every folder has a README, and every link in the documents leads somewhere" {
  for folder in core core/base core/client core/daemon core/daemon/store plugins/*/ frontends/*/; do
    [ -s "$folder/README.md" ] || { echo "$folder has no README.md"; false; }
  done
  for file in $(find . -name '*.md' -not -path './build*' -not -path './run/*'); do
    for link in $(grep -oE '\]\([^)#]+\)' "$file" | sed 's/^](//; s/)$//' | grep -v '://'); do
      [ -e "$(dirname "$file")/$link" ] || { echo "$file: no $link"; false; }
    done
  done
  for path in $(grep -oE '`(core|plugins|frontends|scripts|t|man)/[a-zA-Z0-9_./-]+`' README.md HACKING.md | cut -d'`' -f2 | grep -v NAME); do
    [ -e "$path" ] || [ "$path" = t/conform/engine ] || { echo "there is no $path"; false; }
  done
}

# The lines of the README's tour, run one after another in one shell, print what the README says.
@test "the README's two minutes are true" {
  requires_fuse
  cairn_node
  mkdir -p "$cairn_root/tour/run"
  cd "$cairn_root/tour"
  cairn_mount_at "$PWD/run/mnt"
  # What quickstart has written by then.
  echo hello >run/mnt/greeting
  cairn put app/port 8080
  sed -n '/^```console$/,/^```$/p' "$CAIRN_SOURCE/README.md" | sed '1d;$d' >wanted
  while IFS= read -r line <&7; do
    case $line in
    '$ '*)
      printf '%s\n' "$line"
      eval "${line#\$ }" </dev/null 2>&1 7<&- || true
      ;;
    esac
  done 7<wanted >got
  # Hints are free to help more than the README shows.
  diff <(grep -v '^hint:' wanted) <(grep -v '^hint:' got)
}
