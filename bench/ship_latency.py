#!/usr/bin/python3
"""Changes single people of the sample CRM, one after the other on an idle system, and waits until each has
arrived in its mailboxes. From before the UPDATE is sent to psql, until the answer to the last mailbox's
request is in the stand-in's journal.

    ship_latency.py SOCKET_DIRECTORY PSQL PORT WORKER_PID CHANGES

Prints "p50 MS", "p99 MS", and "cpu_ms MS", the worker's CPU time per change."""
import http.client
import json
import os
import statistics
import subprocess
import sys
import time

DIRECTORY, PSQL, PORT, WORKER, CHANGES = sys.argv[1:4] + [int(a) for a in sys.argv[4:]]


class Psql:
    def __init__(self):
        self.process = subprocess.Popen([PSQL, "-XAtq", "-h", DIRECTORY, "-U", "postgres", "crm"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(self, sql):
        self.process.stdin.write(sql + ";\n\\echo END\n")
        return list(iter(lambda: self.process.stdout.readline().rstrip("\n"), "END"))


class Exchange:
    def __init__(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", int(PORT))

    def get(self, path):
        self.connection.request("GET", "/control/" + path)
        return json.loads(self.connection.getresponse().read())

    def updates(self):
        return self.get("counters")["operations"].get("UpdateItem", {"items": 0})["items"]


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


psql, exchange = Psql(), Exchange()
people = [int(row) for row in psql.ask(
    f"SELECT id FROM crm.person WHERE class = 'Person' ORDER BY id % 97, id LIMIT {CHANGES}")]
latencies, cpu_before = [], cpu_seconds(WORKER)
for number, person in enumerate(people):
    [copies] = psql.ask(f"SELECT count(DISTINCT mailbox) FROM crm.contact_audience WHERE record = {person}")
    goal = exchange.updates() + int(copies)
    time.sleep(0.02)
    started = time.perf_counter()
    psql.ask(f"UPDATE crm.person SET position = 'Position {number} {started}' WHERE id = {person}")
    while exchange.updates() < goal:
        if time.perf_counter() - started > 10:
            sys.exit(f"the change of person {person} did not arrive within 10 seconds")
        time.sleep(0.0005)
    latencies.append(1000 * (time.perf_counter() - started))
time.sleep(0.5)
print("p50 %.1f" % statistics.median(latencies))
print("p99 %.1f" % statistics.quantiles(latencies, n=100)[98])
print("cpu_ms %.3f" % (1000 * (cpu_seconds(WORKER) - cpu_before) / len(latencies)))
