"""Every fault on command does what it says, and control, journal, tokens and TLS work."""

import http.client
import json
import socket
import subprocess
import time
import unittest
import urllib.parse

from stand_in import *

ADA = contact("<t:GivenName>Ada</t:GivenName>")
BROKEN = (http.client.HTTPException, ConnectionError, socket.timeout)


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = StandIn(schema=False)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.server.control("POST", "reset")

    def hit(self, action, body=None, **settings):
        self.server.fault(action, **settings)
        return self.server.ews(body or create(ADA), timeout=5)

    def count(self):
        return len(self.server.items())

    def test_http_statuses(self):
        answer = self.hit("http", status=503, headers={"Retry-After": "7"})
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "7"))
        self.assertEqual(self.hit("http", status=429, headers={"Retry-After": "1"}).status, 429)
        self.assertEqual(self.hit("http", status=401).status, 401)
        answer = self.hit("error_page")
        self.assertEqual(answer.status, 302)
        self.assertIn("genericerrorpage.htm", answer.headers["Location"])
        self.assertEqual(self.hit("redirect", location="http://127.0.0.2/").headers["Location"], "http://127.0.0.2/")
        self.assertEqual(self.hit("html").headers.get_content_type(), "text/html")
        self.assertEqual(self.count(), 0)

    def test_busy(self):
        answer = self.hit("busy", back_off_ms=297749)
        self.assertEqual((answer.status, answer.fault), (500, "ErrorServerBusy"))
        value = answer.xml.find(f".//{T}MessageXml/{T}Value")
        self.assertEqual((value.get("Name"), value.text), ("BackOffMilliseconds", "297749"))
        answer = self.hit("busy_message", create(ADA, ADA), back_off_ms=5)
        self.assertEqual((answer.status, answer.codes), (200, ["ErrorServerBusy"] * 2))
        self.assertEqual(answer.xml.find(f".//{M}MessageXml/{T}Value").text, "5")
        answer = self.hit("inner", code="ErrorServerBusy", back_off_ms=5)
        self.assertEqual(answer.codes, ["ErrorInternalServerError"])
        values = {v.get("Name"): v.text for v in answer.xml.iter(f"{T}Value")}
        self.assertEqual((values["InnerErrorResponseCode"], values["BackOffMilliseconds"]), ("ErrorServerBusy", "5"))
        self.assertEqual(self.count(), 0)

    def test_any_code(self):
        self.assertEqual(self.hit("fault", code="ErrorMailboxMoveInProgress").fault, "ErrorMailboxMoveInProgress")
        self.assertEqual(self.hit("response", code="ErrorTimeoutExpired").codes, ["ErrorTimeoutExpired"])

    def test_one_item_of_a_batch(self):
        items = [contact(f"<t:GivenName>N{n}</t:GivenName>") for n in range(4)]
        answer = self.hit("item", create(*items), code="ErrorItemSave", message="No.", indexes=[1])
        self.assertEqual(answer.codes, ["NoError", "ErrorItemSave", "NoError", "NoError"])
        answer = self.hit("item", create(*items), code="ErrorCorruptData", match="N3<")
        self.assertEqual(answer.codes, ["NoError"] * 3 + ["ErrorCorruptData"])
        self.assertEqual(self.count(), 6)

    def test_broken_connections(self):
        for action, carried_out in (("close", 0), ("reset", 0), ("lost", 1), ("half", 1)):
            for reset in (False, True):
                with self.subTest(action=action, reset=reset):
                    self.server.control("POST", "reset")
                    with self.assertRaises(BROKEN):
                        self.hit(action, reset=reset)
                    self.assertEqual(self.count(), carried_out)
        with self.assertRaises(ConnectionResetError):
            self.hit("reset")

    def test_late(self):
        for waits in (False, True):
            with self.subTest(waits=waits):
                self.server.control("POST", "reset")
                start = time.monotonic()
                with self.assertRaises(BROKEN):
                    self.hit("late", seconds=0.5, waits=waits)
                took = time.monotonic() - start
                if waits:
                    self.assertGreaterEqual(took, 0.5)
                else:
                    self.assertLess(took, 0.4)
                    self.assertEqual(self.count(), 0)
                self.server.control("GET", "stored?items=1&seconds=5")
                self.assertEqual(self.count(), 1)
        self.server.control("POST", "reset")
        self.server.fault("late", seconds=0.5, waits=True)
        with self.assertRaises(BROKEN):
            self.server.ews(create(ADA), timeout=0.1)
        self.assertEqual(self.count(), 0)
        self.server.control("GET", "stored?items=1&seconds=5")
        self.assertEqual(self.count(), 1)

    def test_half_can_be_left_undone(self):
        with self.assertRaises(BROKEN):
            self.hit("half", carry_out=False)
        self.assertEqual(self.count(), 0)

    def test_silence_delay_and_drip(self):
        self.server.fault("silence", seconds=60)
        start = time.monotonic()
        with self.assertRaises(BROKEN):
            self.server.ews(create(ADA), timeout=0.3)
        self.assertLess(time.monotonic() - start, 3)
        self.assertEqual(self.count(), 0)
        start = time.monotonic()
        self.assertEqual(self.hit("delay", seconds=0.3).status, 200)
        self.assertGreaterEqual(time.monotonic() - start, 0.3)
        start = time.monotonic()
        self.assertEqual(self.hit("drip", bytes_per_second=3000).codes, ["NoError"])
        self.assertGreater(time.monotonic() - start, 0.2)

    def test_huge(self):
        for chunked in (False, True):
            answer = self.hit("huge", bytes=3_000_000, chunked=chunked)
            self.assertEqual(len(answer.body), 3_000_000)
            with self.assertRaises(ElementTree.ParseError):
                answer.xml

    def test_spoiled_answers(self):
        for action, settings in (
            ("invalid_xml", {}), ("illegal_characters", {}), ("illegal_characters", {"raw": True}),
            ("wrong_encoding", {}), ("wrong_encoding", {"kind": "utf16"}), ("empty", {}), ("nested", {"depth": 1000}),
        ):
            with self.subTest(action=action, settings=settings):
                answer = self.hit(action, **settings)
                self.assertEqual(answer.status, 200)
                if (action, settings) != ("wrong_encoding", {"kind": "utf16"}):
                    with self.assertRaises(ElementTree.ParseError):
                        answer.xml
                else:
                    self.assertTrue(answer.body.startswith(b"\xff\xfe"))
        self.assertEqual(self.count(), 7)

    def test_whom_a_rule_hits(self):
        self.server.fault("http", status=503, operation="DeleteItem", count=0)
        self.assertEqual(self.server.ews(find()).status, 200)
        self.assertEqual([self.server.ews(delete(("x", ""))).status for _ in range(3)], [503] * 3)
        self.server.control("DELETE", "faults")
        self.server.fault("http", status=503, mailbox="USER2@example.test")
        self.assertEqual(self.server.ews(find()).status, 200)
        self.assertEqual(self.server.ews(find(), mailbox="user2@example.test").status, 503)
        self.server.fault("http", status=503, skip=1, every=2, count=2)
        self.assertEqual([self.server.ews(find()).status for _ in range(7)], [200, 200, 503, 200, 503, 200, 200])
        with self.assertRaisesRegex(ValueError, "known are"):
            self.server.fault("explode")

    def test_as_the_user(self):
        self.server.control(
            "POST", "items", mailbox="user1@example.test", action="create",
            set={"contacts:GivenName": "Eve", "item:Categories": ["a", "b"], "contacts:EmailAddress/EmailAddress1": "e@x"},
        )
        found = self.server.items()[0]
        self.assertEqual(found["properties"]["contacts:DisplayName"], "Eve")
        self.assertEqual(found["properties"]["item:Categories"], ["a", "b"])
        answer = self.server.ews(get((found["id"], "")))
        self.assertEqual(answer.entries("EmailAddresses"), {"EmailAddress1": "e@x"})
        done = self.server.control(
            "POST", "items", mailbox="user1@example.test", action="update",
            match={"contacts:GivenName": "Eve"}, set={"contacts:GivenName": None, "contacts:Surname": "S"},
        )
        self.assertEqual(done["count"], 1)
        self.assertEqual(self.server.items()[0]["properties"]["contacts:DisplayName"], "S")
        for action, contacts, bin_ in (("copy", 1, 1), ("move", 0, 2), ("delete", 0, 0)):
            folder = "deleteditems" if action == "delete" else "contacts"
            self.server.control("POST", "items", mailbox="user1@example.test", action=action, folder=folder)
            self.assertEqual((self.count(), len(self.server.items(folder="deleteditems"))), (contacts, bin_))

    def test_mailboxes(self):
        self.server.control("POST", "mailboxes", address="New@example.test")
        self.assertEqual(self.server.ews(create(ADA), mailbox="new@example.test").codes, ["NoError"])
        listed = {m["address"]: m["items"] for m in self.server.control("GET", "mailboxes")}
        self.assertEqual(listed["new@example.test"], 1)
        self.server.control("DELETE", "mailbox?address=new@example.test")
        self.assertEqual(self.server.ews(find(), mailbox="new@example.test").fault, "ErrorNonExistentMailbox")

    def test_journal_and_counters(self):
        headers = {"X-AnchorMailbox": "user1@example.test", "client-request-id": "abc"}
        answer = self.server.ews(create(ADA, ADA), headers=headers)
        self.assertEqual(answer.headers["client-request-id"], "abc")
        self.server.ews(find())
        entries = self.server.control("GET", "journal")
        self.assertEqual([(e["operation"], e["items"], e["status"]) for e in entries], [("CreateItem", 2, 200), ("FindItem", 2, 200)])
        self.assertEqual([e["anchor"] for e in entries], ["user1@example.test", ""])
        self.assertEqual(self.server.control("GET", f"journal?since={entries[0]['number']}"), entries[1:])
        counters = self.server.control("GET", "counters")
        self.assertEqual(counters["operations"]["CreateItem"], {"requests": 1, "items": 2})
        self.assertEqual(counters["stored_items"], 2)

    def test_pause(self):
        self.server.control("POST", "server", paused=True)
        with self.assertRaises(BROKEN):
            self.server.ews(find(), timeout=0.2)
        self.server.control("POST", "server", paused=False)
        self.assertEqual(self.server.ews(find()).status, 200)

    def test_service_time(self):
        connection = self.server.connect()
        self.server.post(envelope(find()), connection=connection)
        self.server.control("POST", "server", request_ms=20, item_ms=2)
        start = time.monotonic()
        for _ in range(5):
            self.server.post(envelope(create(*[ADA] * 10)), connection=connection)
        took = (time.monotonic() - start) / 5
        connection.close()
        self.server.control("POST", "server", request_ms=0, item_ms=0)
        self.assertGreaterEqual(took, 0.040)
        self.assertLess(took, 0.080)

    def token(self, secret="client-secret"):
        connection = self.server.connect()
        form = urllib.parse.urlencode(
            {"grant_type": "client_credentials", "client_id": "client", "client_secret": secret,
             "scope": "https://outlook.office365.com/.default"}
        )
        connection.request("POST", "/tenant/oauth2/v2.0/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, json.loads(body) if body[:1] == b"{" else body

    def test_tokens(self):
        status, token = self.token()
        self.assertEqual((status, token["token_type"], token["expires_in"]), (200, "Bearer", 3600))
        bearer = "Bearer " + token["access_token"]
        self.assertEqual(self.server.ews(find(), authorization=bearer).status, 200)
        self.server.control("POST", "server", revoke_tokens=True)
        self.assertEqual(self.server.ews(find(), authorization=bearer).status, 401)
        self.server.control("POST", "server", token_seconds=0.2)
        bearer = "Bearer " + self.token()[1]["access_token"]
        self.assertEqual(self.server.ews(find(), authorization=bearer).status, 200)
        time.sleep(0.3)
        self.assertEqual(self.server.ews(find(), authorization=bearer).status, 401)
        self.server.control("POST", "server", token_seconds=3600)
        self.assertEqual(self.token("wrong")[0], 401)
        self.server.fault("http", endpoint="token", status=503)
        self.assertEqual(self.token()[0], 503)


class OtherServers(unittest.TestCase):
    def test_tls(self):
        with tempfile.TemporaryDirectory() as directory:
            key, certificate = os.path.join(directory, "key"), os.path.join(directory, "cert")
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-subj", "/CN=localhost", "-keyout", key, "-out", certificate], check=True, capture_output=True,
            )
            with StandIn("--cert", certificate, "--key", key) as server:
                self.assertEqual(server.ews(create(*[ADA] * 50)).codes, ["NoError"] * 50)
                server.fault("reset")
                with self.assertRaises(BROKEN):
                    server.ews(find())
                self.assertEqual(server.ews(find()).status, 200)

    def test_journal_file_and_bodies(self):
        with tempfile.TemporaryDirectory() as directory:
            journal = os.path.join(directory, "journal")
            with StandIn("--journal", journal, "--bodies", directory) as server:
                server.ews(create(ADA))
                with open(journal) as file:
                    line = file.read()
                self.assertRegex(line, r"^[0-9.]+ CreateItem user1@example.test items=1 status=200 in=\d+ out=\d+")
                with open(os.path.join(directory, "00000001.request.xml")) as file:
                    self.assertIn("<t:GivenName>Ada", file.read())

    def test_many_connections(self):
        with StandIn(schema=False) as server:
            connections = [server.connect() for _ in range(200)]
            for _ in range(2):
                for connection in connections:
                    self.assertEqual(server.post(envelope(find()), connection=connection).status, 200)
            self.assertGreaterEqual(server.control("GET", "counters")["connections"]["open"], 200)
            for connection in connections:
                connection.close()


if __name__ == "__main__":
    unittest.main()
