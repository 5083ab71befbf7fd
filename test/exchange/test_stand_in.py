"""A client that we did not write, exchangelib, works with the stand-in."""

import datetime
import unittest
import warnings

from exchangelib import (
    IMPERSONATION, UTC, Account, CalendarItem, Configuration, Contact, Credentials, ExtendedProperty,
    Task,
)
from exchangelib.errors import ErrorItemNotFound, ErrorNonExistentMailbox, UnauthorizedError
from exchangelib.folders import Contacts
from exchangelib.indexed_properties import EmailAddress, PhoneNumber, PhysicalAddress

from stand_in import PASSWORD, USER, StandIn


class Stamp(ExtendedProperty):
    property_set_id = "5f1c1a5e-3b0e-4c7a-9d53-6f3f6f0a7b11"
    property_name = "stamp"
    property_type = "String"


Contact.register("stamp", Stamp)


class WithExchangelib(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        warnings.simplefilter("ignore")
        cls.server = StandIn()
        cls.account = cls.open("user1@example.test")

    @classmethod
    def tearDownClass(cls):
        cls.account.protocol.close()
        cls.server.stop()

    @classmethod
    def open(cls, mailbox, password=PASSWORD):
        configuration = Configuration(
            service_endpoint=f"http://127.0.0.1:{cls.server.port}/EWS/Exchange.asmx",
            credentials=Credentials(USER, password),
            auth_type="basic",
        )
        return Account(
            mailbox, config=configuration, autodiscover=False, access_type=IMPERSONATION, default_timezone=UTC
        )

    def setUp(self):
        self.server.control("POST", "reset")
        # Folder ids are those of another mailbox after the reset.
        self.account = self.open("user1@example.test")

    def contact(self, given="Ada", **more):
        return Contact(
            account=self.account, folder=self.account.contacts, given_name=given, surname="Lovelace",
            display_name=f"{given} Lovelace", file_as=f"Lovelace, {given}", **more,
        )

    def test_create_and_read(self):
        saved = self.contact(
            middle_name="K", job_title="Countess", company_name="Engine & Sons <Ltd>", department="D",
            email_addresses=[EmailAddress(label=f"EmailAddress{n}", email=f"a{n}@example.test") for n in (1, 2, 3)],
            phone_numbers=[
                PhoneNumber(label="BusinessPhone", phone_number="+44 1"),
                PhoneNumber(label="MobilePhone", phone_number="+44 2"),
            ],
            physical_addresses=[
                PhysicalAddress(label="Home", street="St James's Sq 12", city="London", country="UK", zipcode="SW1")
            ],
            birthday=datetime.date(1815, 12, 10), categories=["CRM", "VIP"], body="Zeile 1\näöü €", stamp="i/l/1",
        ).save()
        read = self.account.contacts.get(id=saved.id, changekey=saved.changekey)
        for field in (
            "given_name", "middle_name", "surname", "file_as", "job_title", "company_name", "department",
            "birthday", "categories", "stamp", "phone_numbers", "physical_addresses",
        ):
            self.assertEqual(getattr(read, field), getattr(saved, field), field)
        self.assertEqual([e.email for e in read.email_addresses], [f"a{n}@example.test" for n in (1, 2, 3)])
        self.assertEqual(read.body.replace("\r\n", "\n"), "Zeile 1\näöü €")
        self.assertEqual(read.complete_name.full_name, "Ada K Lovelace")

    def test_change(self):
        saved = self.contact(job_title="old").save()
        before = saved.changekey
        saved.job_title, saved.department = "new", "D"
        saved.phone_numbers = [PhoneNumber(label="HomePhone", phone_number="1")]
        saved.save(update_fields=["job_title", "department", "phone_numbers"])
        self.assertNotEqual(saved.changekey, before)
        saved.department = None
        saved.save(update_fields=["department"])
        read = self.account.contacts.get(id=saved.id)
        self.assertEqual((read.job_title, read.department), ("new", None))
        self.assertEqual(read.phone_numbers[0].phone_number, "1")

    def test_search(self):
        for given, stamp in (("Ada", "i/l/1"), ("Bob", "i/l/2"), ("Bobby", "i/l/3")):
            self.contact(given, stamp=stamp).save()
        contacts = self.account.contacts
        self.assertEqual(contacts.get(stamp="i/l/2").given_name, "Bob")
        self.assertEqual(contacts.filter(stamp="i/l/9").count(), 0)
        self.assertEqual(contacts.filter(given_name__startswith="Bob").count(), 2)
        self.assertEqual(contacts.filter(given_name__icontains="BOB", surname="Lovelace").count(), 2)
        self.assertEqual(contacts.exclude(given_name="Ada").count(), 2)
        names = list(contacts.all().order_by("-given_name").values_list("given_name", flat=True))
        self.assertEqual(names, ["Bobby", "Bob", "Ada"])

    def test_bulk(self):
        made = self.account.bulk_create(
            folder=self.account.contacts, items=[self.contact(f"N{n:03}") for n in range(300)], chunk_size=50
        )
        self.assertEqual(len({m.id for m in made}), 300)
        self.assertEqual(self.account.contacts.filter(surname="Lovelace").count(), 300)
        fetched = list(self.account.fetch(ids=made[:60], chunk_size=25))
        self.assertEqual([f.given_name for f in fetched], [f"N{n:03}" for n in range(60)])
        self.assertEqual(list(self.account.bulk_delete(made)), [True] * 300)
        self.assertEqual(self.account.contacts.all().count(), 0)

    def test_sync(self):
        contacts = self.account.contacts
        kept, gone = self.contact("Kept").save(), self.contact("Gone").save()
        first = list(contacts.sync_items(only_fields=["given_name"]))
        self.assertEqual(sorted((k, i.given_name) for k, i in first), [("create", "Gone"), ("create", "Kept")])
        kept.job_title = "x"
        kept.save(update_fields=["job_title"])
        gone.delete()
        self.contact("New").save()
        kinds = {(k, getattr(i, "given_name", None)) for k, i in contacts.sync_items(only_fields=["given_name"])}
        self.assertEqual(kinds, {("update", "Kept"), ("delete", None), ("create", "New")})

    def test_move_and_delete(self):
        saved = self.contact(stamp="s").save()
        old = saved.id
        folder = Contacts(parent=self.account.contacts, name="CRM")
        folder.save()
        saved.move(folder)
        self.assertNotEqual(saved.id, old)
        self.assertEqual(folder.get(stamp="s").id, saved.id)
        self.assertIsInstance(list(self.account.fetch(ids=[(old, None)]))[0], ErrorItemNotFound)
        saved.move_to_trash()
        self.assertEqual(folder.all().count(), 0)
        self.assertEqual(len(self.server.items(folder="deleteditems")), 1)
        folder.delete()
        self.assertEqual([f.name for f in self.account.contacts.children], [])

    def test_mailboxes_are_apart(self):
        self.contact().save()
        other = self.open("user2@example.test")
        self.assertEqual(other.contacts.all().count(), 0)
        other.protocol.close()

    def test_refusals(self):
        with self.assertRaises(ErrorNonExistentMailbox):
            self.open("nobody@example.test").contacts.all().count()
        # exchangelib shares connections between equal credentials, so another password is another protocol.
        with self.assertRaises(UnauthorizedError):
            self.open("user1@example.test", "wrong").contacts.all().count()

    def test_events(self):
        start = datetime.datetime(2026, 5, 1, 9, tzinfo=UTC)
        event = CalendarItem(
            account=self.account, folder=self.account.calendar, subject="Visit", location="Rome",
            start=start, end=start + datetime.timedelta(hours=1), legacy_free_busy_status="OOF",
        )
        event.save()
        read = self.account.calendar.get(id=event.id)
        self.assertEqual((read.subject, read.location, read.start), ("Visit", "Rome", start))
        event.start, event.end = start + datetime.timedelta(days=1), start + datetime.timedelta(days=1, hours=2)
        event.save(update_fields=["start", "end"])
        day = datetime.timedelta(days=1)
        self.assertEqual(self.account.calendar.view(start=start + day / 2, end=start + 2 * day).count(), 1)
        self.assertEqual(self.account.calendar.view(start=start - day, end=start).count(), 0)
        self.assertEqual([k for k, _ in self.account.calendar.sync_items()], ["create"])
        event.delete()
        self.assertEqual(self.account.calendar.all().count(), 0)

    def test_tasks(self):
        task = Task(account=self.account, folder=self.account.tasks, subject="Call", due_date=datetime.date(2026, 5, 2))
        task.save()
        read = self.account.tasks.get(id=task.id)
        self.assertEqual((read.status, read.due_date), ("NotStarted", datetime.date(2026, 5, 2)))
        read.status = "InProgress"
        read.save(update_fields=["status"])
        self.assertEqual(self.account.tasks.get(subject="Call").status, "InProgress")
        read.delete()
        self.assertEqual(self.account.tasks.all().count(), 0)


if __name__ == "__main__":
    unittest.main()
