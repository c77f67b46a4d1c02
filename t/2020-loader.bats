# Plugins that cannot be used are refused with the file and the reason, and the daemon goes on.

setup() {
  load lib/cairn.bash
  odd=$CAIRN_BUILD/t/plugins/.libs/odd.so
  mkdir "$cairn_root/plugins"
  for name in wrong-abi no-get unordered fine; do
    cp "$odd" "$cairn_root/plugins/engine-$name.so"
  done
  echo "not a program" >"$cairn_root/plugins/engine-text.so"
  export CAIRN_PLUGIN_PATH=$CAIRN_PLUGIN_PATH:$cairn_root/plugins
}

@test "the list of plugins has the refused ones with their reasons" {
  requires_engine memory
  cairn_node -o volume.engine=memory
  run cairn plugin list
  echo "$output"
  [ "$status" -eq 0 ]
  grep -q 'wrong-abi.*it was built for version 99 of the engine interface' <<<"$output"
  grep -q 'no-get.*the required callback get is missing' <<<"$output"
  grep -q 'unordered.*does not keep keys in order' <<<"$output"
  grep -q 'text.*it cannot be loaded' <<<"$output"
  grep -q fine <<<"$output"
}

@test "a volume on a refused engine is refused, by name and by path, and the daemon stays up" {
  requires_engine memory
  cairn_node -o volume.engine=memory
  cairn put here still
  run cairn volume create a --engine no-get
  echo "$output"
  [ "$status" -eq 10 ]
  [[ "$output" == *"the required callback get is missing"* ]]
  run cairn volume create a --engine "$cairn_root/plugins/engine-text.so"
  echo "$output"
  [ "$status" -eq 10 ]
  [[ "$output" == *"engine-text.so: it cannot be loaded"* ]]
  run cairn volume create a --engine memry
  echo "$output"
  [ "$status" -eq 1 ]
  [[ "$output" == *"did you mean 'memory'?"* ]]
  [ "$(cairn get here)" = still ]
}

@test "an engine whose open() fails says why, and the daemon stays up" {
  requires_engine memory
  cairn_node -o volume.engine=memory
  cairn put here still
  run cairn volume create a --engine fine number=13
  echo "$output"
  [ "$status" -eq 9 ]
  [[ "$output" == *"engine fine"*"damaged at offset 13"* ]]
  run cairn volume create a --engine fine nubmer=1
  echo "$output"
  [ "$status" -eq 2 ]
  [[ "$output" == *"did you mean 'number'?"* ]]
  [ "$(cairn get here)" = still ]
}
