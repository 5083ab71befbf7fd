# For the benchmarks with Exchange, to be sourced after scripts/throw-away: the sample CRM's contacts and
# the stand-in, the program that sends recorded requests again, and what measuring needs.

connections=8

note() { printf '%s\n' "$*" >&2; }
now() { date +%s.%N; }
calculate() { awk "BEGIN { printf \"%.3f\", $1 }"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
wanted() { [[ " $parts " == *" $1 "* ]]; }

control() { curl -sf "http://127.0.0.1:$exchange_port/control/$1" "${@:2}"; }
# How many items Exchange holds, once it holds that many or after so many seconds.
stored() { control "stored?items=$1&seconds=$2" | sed 's/.*"stored_items":\([0-9]*\).*/\1/'; }
pace() { control server -d "{\"request_ms\": $1, \"item_ms\": $2}" >/dev/null; }

build_replay() { "${CXX:-g++}" -std=c++20 -O2 bench/replay.cpp -lcurl -o "$stage/replay"; }

# send_again DIRECTORY [TIMES]: the requests recorded there, as bare as can be.
send_again() {
    "$stage/replay" "$exchange_url" service@example.test:secret $connections "$@"
}

# make_link [SQL...]: the sample's link, not enabled yet, and what is to be different with it.
make_link() {
    local statement
    sed '/enable_link/d' sample/contacts.sql |
        crm_psql -o /dev/null -v exchange_url="$exchange_url" -v exchange_user=service@example.test \
            -v exchange_secret=file:exchange -f -
    for statement in "SELECT crmsync.alter_target('exchange', options => '{\"max_connections\": $connections}')" "$@"; do
        crm_psql -o /dev/null -c "$statement"
    done
}

drop_link() {
    crm_psql -o /dev/null -c "SELECT crmsync.drop_link('contacts')" -c "SELECT crmsync.drop_target('exchange')"
}

# Waits until Exchange holds that many items. It is the server that waits: asking it again and again
# would cost processor time that the replay does not pay.
wait_for_items() {
    [ "$(stored "$1" 900)" -ge "$1" ] || {
        note "only $(stored 0 0) of $1 items arrived"
        crm_psql -c "SELECT * FROM crmsync.status" -c "SELECT * FROM crmsync.failures LIMIT 5" >&2
        return 1
    }
}

# wait_until SQL [SECONDS]: asks one session again and again, without keeping a snapshot meanwhile.
wait_until() {
    crm_psql -o /dev/null -c "DO \$\$
        DECLARE deadline timestamptz := clock_timestamp() + interval '${2:-120} s';
        BEGIN
            WHILE ($1) IS NOT TRUE LOOP
                IF clock_timestamp() > deadline THEN RAISE 'still not true: %', \$text\$$1\$text\$; END IF;
                COMMIT;
                PERFORM pg_sleep(0.01);
            END LOOP;
        END \$\$"
}

worker_pid() {
    local pid
    pid=$(crm_psql -At -c "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'crmsync%' ORDER BY backend_start LIMIT 1")
    [ -n "$pid" ] || { note "there is no worker"; return 1; }
    echo "$pid"
}

# Processor time of a process and all its threads so far, in seconds.
cpu_seconds() {
    awk -v ticks="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) / ticks }' "/proc/$1/stat"
}
