# shellcheck shell=bash
# scripts/bench mount: calls on files of tmpfs, of the least file system on libfuse (floor), of the same with a round trip to
# another process for each call that needs one (hop), and of cairnfs, by turns. Sourced by scripts/bench, whose variables it
# uses.
# shellcheck disable=SC2154

mount_bench() {
  local pin=() places=(floor hop local open) at=$cairn_root/at place round
  [ "$(id -u)" -eq 0 ] && places=(tmpfs "${places[@]}")
  if [ "$pinned" = yes ] && command -v taskset >/dev/null; then pin=(taskset -c 0); fi
  "${pin[@]}" cairnd --data "$cairn_root/data" --socket "$cairn_root/socket" -o volume.engine="$engines" -o volume.history=0 \
    --exit-with-parent >"$cairn_root/log" 2>&1 3>&- &
  export CAIRN_SERVER=unix:$cairn_root/socket
  "${pin[@]}" cairn --timeout 20s health --wait ok >/dev/null
  for place in "${places[@]}"; do
    mkdir -p "$at/$place"
    case $place in
    tmpfs) mount -t tmpfs none "$at/tmpfs" ;;
    floor) "${pin[@]}" "$build/t/bench/floor" "$at/$place" 3>&- & ;;
    hop) "${pin[@]}" "$build/t/bench/floor" -h "$at/$place" 3>&- & ;;
    *) "${pin[@]}" cairnfs "$CAIRN_SERVER" "$at/$place" -o "consistency=$place,prefix=$place" 3>&- ;;
    esac
  done
  for place in "${places[@]}"; do until mountpoint -q "$at/$place"; do sleep 0.05; done; done
  for ((round = 1; round <= rounds; round++)); do
    for place in "${places[@]}"; do
      mkdir "$at/$place/$round"
      "${pin[@]}" "$build/t/bench/files" "$at/$place/$round" "$keys" "$entries" "$mib" |
        sed "s/^{/{\"place\":\"$place\",\"round\":$round,/" >>"$raw"
    done
  done
  [ -z "$json" ] || cp "$raw" "$json"
  [ "$pinned" = yes ] && echo "all on one core" || echo "on all cores"
  jq -rs --argjson places "$(printf '%s\n' "${places[@]}" | jq -R . | jq -sc .)" '
    def median: sort | if length == 0 then null else .[length / 2 | floor] end;
    def fit(n): tostring | (" " * ([n - length, 0] | max)) + .;
    def round1: . * 10 | round / 10;
    . as $all | (reduce .[].op as $o ([]; if index($o) then . else . + [$o] end)) as $ops |
    "p50 us      " + ([$places[] | fit(10)] | join("")) + "  local/floor  local/hop",
    ($ops[] as $op |
      ([$places[] as $p | {key: $p, value: ([$all[] | select(.op == $op and .place == $p) | .p50] | median)}] | from_entries) as $v |
      ($op + " " * (12 - ($op | length))) + ([$places[] | $v[.] | round1 | fit(10)] | join("")) +
      ($v.local / $v.floor * 100 | round / 100 | fit(13)) + ($v.local / $v.hop * 100 | round / 100 | fit(11)))' "$raw"
  for place in "${places[@]}"; do
    umount "$at/$place" 2>/dev/null || fusermount3 -u "$at/$place"
  done
}
