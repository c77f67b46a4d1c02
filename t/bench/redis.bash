# shellcheck shell=bash
# scripts/bench redis: a node with gateway-resp and redis-server, by turns. Sourced by scripts/bench, whose variables it uses.
# shellcheck disable=SC2154

# The generator gets the upper half of the cores where there are four.
cores=$(nproc) pin=() server_cores=
if [ "$cores" -ge 4 ] && command -v taskset >/dev/null; then
  server_cores=0-$((cores / 2 - 1))
  pin=(taskset -c "$((cores / 2))-$((cores - 1))")
fi

# A port that nobody listens at.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

answers() { [ "$(redis-cli -p "$1" ping 2>/dev/null)" = PONG ]; }
wait_for_port() {
  local deadline=$((SECONDS + 20))
  until answers "$1"; do [ $SECONDS -lt $deadline ] || die "no server answers at port $1: $(tail -n 3 "$2")"; done
}

# start_redis OPTION…: redis-server, nothing saved but what the options say.
declare -A port pid
start_redis() {
  local folder=$cairn_root/redis
  mkdir "$folder"
  port[redis]=$(free_port)
  redis-server --port "${port[redis]}" --bind 127.0.0.1 --dir "$folder" --save "" --daemonize no \
    --auto-aof-rewrite-percentage 0 "$@" </dev/null >"$folder/log" 2>&1 &
  pid[redis]=$!
  wait_for_port "${port[redis]}" "$folder/log"
  place "${pid[redis]}"
}

# start_cairn OPTION…: a node whose gateway listens, with the library $preload in it.
preload=
start_cairn() {
  port[cairn]=$(free_port)
  LD_PRELOAD=$preload cairn_node -o "gateway.resp.listen=127.0.0.1:${port[cairn]}" "${settings[@]}" "$@"
  pid[cairn]=$(cairn_pid n1)
  wait_for_port "${port[cairn]}" "$cairn_root/n1/log"
  place "${pid[cairn]}"
}

place() { [ -z "$server_cores" ] || taskset -acp "$server_cores" "$1" >/dev/null; }

stop_both() {
  if [ -n "${pid[redis]:-}" ]; then
    kill -KILL "${pid[redis]}"
    wait "${pid[redis]}" 2>/dev/null || true
    rm -rf "$cairn_root/redis"
  fi
  if [ -n "${pid[cairn]:-}" ]; then
    cairn_stop n1 || die "the node did not end well: $(tail -n 3 "$cairn_root/n1/log")"
    rm -rf "$cairn_root/n1"
  fi
  pid=()
}
stop_redis_at_exit() {
  [ -z "${pid[redis]:-}" ] || kill -KILL "${pid[redis]}" 2>/dev/null || true
  cairn_cleanup
}

# generate SERVER ARGUMENT…: one run of our generator, its line.
generate() {
  local server=$1
  shift
  "${pin[@]}" "$build/t/bench/resp" --address "127.0.0.1:${port[$server]}" --pid "${pid[$server]}" --keys "$keys" "$@" ||
    die "the generator failed on $server"
}
# fill SERVER VALUE: each key once.
fill() { generate "$1" --op set --fill --value "$2" --clients 16 --pipeline 64 --threads "$threads" >/dev/null; }

# User and system time of a process, in ms.
cpu_ms() { awk -v tick="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000 / tick }' "/proc/$1/stat"; }

# benchmark SERVER OP CLIENTS PIPELINE VALUE REQUESTS: redis-benchmark, in the words of our generator.
benchmark() {
  local server=$1 before line own TIMEFORMAT='%U %S'
  before=$(cpu_ms "${pid[$server]}")
  { own=$({ time "${pin[@]}" redis-benchmark -p "${port[$server]}" -t "$2" -c "$3" -P "$4" -d "$5" -n "$6" -r "$keys" \
    --threads "$threads" --csv 2>/dev/null >"$cairn_root/csv"; } 2>&1); }
  line=$(tail -n 1 "$cairn_root/csv" | tr -d '"')
  [ -n "$line" ] || die "redis-benchmark failed on $server"
  awk -v line="$line" -v own="$own" -v before="$before" -v after="$(cpu_ms "${pid[$server]}")" -v op="$2" -v clients="$3" \
    -v pipeline="$4" -v value="$5" -v n="$6" -v threads="$threads" 'BEGIN {
      split(line, at, ","); split(own, time, " ")
      printf "{\"op\":\"%s\",\"clients\":%d,\"pipeline\":%d,\"value\":%d,\"requests\":%d,\"rate\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"cpu_us\":%.3f,\"load\":%.2f}\n",
        op, clients, pipeline, value, n, at[2], at[5] * 1000, at[7] * 1000, (after - before) * 1000 / n, (time[1] + time[2]) / (n / at[2]) / threads
    }'
}

# point PART SERVER OP CLIENTS PIPELINE VALUE: one measurement into the raw lines.
point() {
  local part=$1 server=$2 line n
  shift 2
  if [ "$tool" = redis-benchmark ]; then
    # It takes a number of requests, not a time: what our generator does in a moment says how many.
    line=$(generate "$server" --op "$1" --clients "$2" --pipeline "$3" --value "$4" --seconds 0.2 --threads "$threads")
    n=$(awk -v line="$line" -v s="$seconds" 'BEGIN { sub(/.*"rate":/, "", line); printf "%d", (line + 0) * s + 1000 }')
    line=$(benchmark "$server" "$@" "$n")
  else
    line=$(generate "$server" --op "$1" --clients "$2" --pipeline "$3" --value "$4" --seconds "$seconds" --threads "$threads")
  fi
  printf '{"part":"%s","tool":"%s","server":"%s",%s\n' "$part" "$tool" "$server" "${line#\{}" >>"$raw"
}

# both PART OPS CLIENTS PIPELINES: all combinations, round for round by turns.
both() {
  local r value op many deep server
  for value in ${values//,/ }; do
    for server in redis cairn; do fill "$server" "$value"; done
    for deep in ${4//,/ }; do
      for many in ${3//,/ }; do
        for op in $2; do
          for ((r = 0; r < rounds; r++)); do
            for server in redis cairn; do point "$1" "$server" "$op" "$many" "$deep" "$value"; done
          done
        done
      done
    done
  done
}

volatile() {
  local values=${values:-16,256,4096}
  start_redis --appendonly no
  start_cairn -o volume.engine="$engines" -o volume.durable=no
  both volatile "set get" "$clients" "$pipelines"
  stop_both
}

durable() {
  local values=${values:-256}
  start_redis --appendonly yes --appendfsync always
  start_cairn -o volume.engine="$engines" -o volume.durable=yes
  both durable set "$durable_clients" 1
  stop_both
}

anonymous_kib() { awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"; }

# Memory of $memory_keys keys with values of 100 bytes, a node or server at a time.
memory() {
  local server before keys=$memory_keys
  start_redis --appendonly no
  start_cairn -o volume.engine="$engines" -o volume.durable=no
  for server in redis cairn; do
    before=$(anonymous_kib "${pid[$server]}")
    fill "$server" 100
    printf '{"part":"memory","server":"%s","keys":%d,"value":100,"bytes":%d}\n' "$server" "$keys" \
      $((($(anonymous_kib "${pid[$server]}") - before) * 1024 / keys)) >>"$raw"
  done
  stop_both
}

# Calls of malloc by request, of the node alone; the first run brings buffers and caches to their size.
mallocs() {
  local op before line
  truncate -s 8 "$cairn_root/mallocs"
  count() { od -An -t u8 "$cairn_root/mallocs" | tr -d ' '; }
  if ! grep -q 'SAN_CFLAGS = *$' "$build/Makefile"; then return 0; fi # sanitizers bring an allocator of their own
  local -x CAIRN_MALLOCS=$cairn_root/mallocs
  preload=$build/t/lib/.libs/mallocs.so
  start_cairn -o volume.engine="$engines" -o volume.durable=no
  fill cairn 256
  for op in set get; do
    generate cairn --op "$op" --pipeline 16 --seconds "$seconds" >/dev/null
    before=$(count)
    line=$(generate cairn --op "$op" --pipeline 16 --seconds "$seconds")
    printf '{"part":"mallocs","server":"cairn","mallocs":%d,%s\n' $(($(count) - before)) "${line#\{}" >>"$raw"
  done
  stop_both
}

# System calls by request at pipeline 16.
syscalls() {
  local op server line tracer
  if ! command -v strace >/dev/null || ! strace -o /dev/null true 2>/dev/null; then return 0; fi
  start_redis --appendonly no
  start_cairn -o volume.engine="$engines" -o volume.durable=no
  for server in redis cairn; do fill "$server" 256; done
  for op in set get; do
    for server in redis cairn; do
      strace -f -c -o "$cairn_root/trace" -p "${pid[$server]}" >/dev/null 2>"$cairn_root/attached" &
      tracer=$!
      until grep -qs attached "$cairn_root/attached"; do kill -0 $tracer 2>/dev/null || die "strace: $(cat "$cairn_root/attached")"; done
      line=$(generate "$server" --op "$op" --pipeline 16 --seconds "$seconds")
      kill -INT $tracer
      wait $tracer || true
      printf '{"part":"syscalls","server":"%s","calls":%d,"by_name":"%s",%s\n' "$server" \
        "$(awk '$NF == "total" { print $4 }' "$cairn_root/trace")" \
        "$(awk 'NR > 2 && $1 + 0 > 0 && $NF != "total" { printf "%s%s %d", n++ ? ", " : "", $NF, $4; if (n == 5) exit }' "$cairn_root/trace")" \
        "${line#\{}" >>"$raw"
    done
  done
  stop_both
}

# What the raw lines say: medians, and ratios of cairn to redis-server.
redis_table() {
  awk '
    function field(name,  text) { text = $0; if (!sub(".*\"" name "\":\"?", "", text)) return ""; sub("[\",}].*", "", text); return text }
    function median(name, k,  n, i, j, v, t) {
      n = count[k]
      for (i = 1; i <= n; i++) v[i] = value[name, k, i]
      for (i = 2; i <= n; i++) for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
      low = v[1]; high = v[n]
      return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    }
    function other() {
      if (part == "memory") text[++texts] = sprintf("memory: %s %d bytes a key, %d keys with values of 100 bytes", field("server"), field("bytes"), field("keys"))
      if (part == "mallocs") text[++texts] = sprintf("mallocs: cairn %.5f by %s at pipeline 16", field("mallocs") / field("requests"), field("op"))
      if (part == "syscalls") text[++texts] = sprintf("syscalls: %s %.4f by %s at pipeline 16 (%s)", field("server"), field("calls") / field("requests"), field("op"), names())
      if (part == "memory") bytes[field("server")] = field("bytes")
    }
    function names(  text) { text = $0; sub(".*\"by_name\":\"", "", text); sub("\".*", "", text); return text }
    {
      part = field("part")
      if (part != "volatile" && part != "durable") { other(); next }
      k = part SUBSEP field("op") SUBSEP field("value") SUBSEP field("clients") SUBSEP field("pipeline")
      if (!(k in known)) order[++points] = k
      known[k]
      k = k SUBSEP field("server")
      i = ++count[k]
      value["rate", k, i] = field("rate") + 0
      value["cpu", k, i] = field("cpu_us") + 0
      value["load", k, i] = field("load") + 0
      value["p99", k, i] = field("p99_us") + 0
    }
    END {
      if (points) printf "%-8s %-3s %5s %7s %4s %19s %19s %6s %10s %10s %6s %11s %11s\n", "part", "op", "value", "clients", "deep", "redis/s", "cairn/s",
        "ratio", "redis us", "cairn us", "ratio", "load", "p99 us"
      for (p = 1; p <= points; p++) {
        split(order[p], at, SUBSEP)
        r = order[p] SUBSEP "redis"; c = order[p] SUBSEP "cairn"
        rr = median("rate", r); rspread = sprintf("%d +-%d%%", rr, rr ? (high - low) * 50 / rr : 0)
        cr = median("rate", c); cspread = sprintf("%d +-%d%%", cr, cr ? (high - low) * 50 / cr : 0)
        rc = median("cpu", r); cc = median("cpu", c)
        printf "%-8s %-3s %5d %7d %4d %19s %19s %6.2f %10.2f %10.2f %6.2f %5.2f %5.2f %5d %5d\n", at[1], at[2], at[3], at[4], at[5], rspread, cspread,
          rr ? cr / rr : 0, rc, cc, rc ? cc / rc : 0, median("load", r), median("load", c), median("p99", r), median("p99", c)
      }
      for (i = 1; i <= texts; i++) print text[i]
      if (bytes["redis"]) printf "memory: ratio %.2f\n", bytes["cairn"] / bytes["redis"]
    }' "$raw"
}

redis_bench() {
  local part
  trap stop_redis_at_exit EXIT
  printf '# %s, %s cores (servers on %s%s), Linux %s, data in %s (%s)\n' "$processor" "$cores" "${server_cores:-all}" \
    "${pin[*]:+, generator on $((cores / 2))-$((cores - 1))}" "$(uname -r)" "${TMPDIR:-/tmp}" "$(stat -f -c %T "${TMPDIR:-/tmp}")"
  printf '# %s; engine %s, %s; %s keys, %s rounds of %s s by turns, generator %s with %s threads\n' \
    "$(redis-server --version | cut -d' ' -f 1-3)" "$engines" "${settings[*]}" "$keys" "$rounds" "$seconds" "$tool" "$threads"
  for part in ${parts//,/ }; do "$part"; done
  redis_table
}
