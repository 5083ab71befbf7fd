#!/usr/bin/python3
"""How many contacts a second python3-exchangelib's bulk_create makes at its best, with the fields of the
23 rows: the best of several chunk sizes and numbers of threads, each thread with mailboxes of its own.

    exchangelib_create.py URL USER PASSWORD CONTACTS"""
import datetime
import itertools
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import exchangelib
from exchangelib.indexed_properties import EmailAddress, PhoneNumber, PhysicalAddress
from exchangelib.protocol import BaseProtocol

URL, USER, PASSWORD, CONTACTS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
BaseProtocol.SESSION_POOLSIZE = 8


def account(number):
    config = exchangelib.Configuration(
        service_endpoint=URL, credentials=exchangelib.Credentials(USER, PASSWORD),
        auth_type=exchangelib.BASIC, version=exchangelib.Version(exchangelib.version.EXCHANGE_2016),
        max_connections=8)
    return exchangelib.Account(f"user{number}@example.test", config=config, autodiscover=False,
                               access_type=exchangelib.IMPERSONATION)


def contact(folder, i):
    def address(label):
        return PhysicalAddress(label=label, street=f"Main Street {i}", city="Berlin", state="Berlin",
                               country="Germany", zipcode=str(10000 + i))
    return exchangelib.Contact(
        folder=folder, display_name=f"Anna A. Becker{i}", file_as=f"Becker{i}, Anna", given_name="Anna",
        middle_name="A.", surname=f"Becker{i}", job_title="Engineer", birthday=datetime.date(1970, 1, 1),
        email_addresses=[EmailAddress(label="EmailAddress1", email=f"contact{i}@company.example")],
        phone_numbers=[PhoneNumber(label=l, phone_number=f"+49 30 {i}")
                       for l in ("BusinessPhone", "HomePhone", "MobilePhone", "BusinessFax")],
        physical_addresses=[address("Business"), address("Home")])


def rate(accounts, chunk_size):
    share = CONTACTS // len(accounts)

    def create(one):
        results = one.bulk_create(one.contacts, [contact(one.contacts, i) for i in range(share)],
                                  chunk_size=chunk_size)
        bad = [r for r in results if isinstance(r, Exception)]
        if bad:
            raise bad[0]

    started = time.perf_counter()
    with ThreadPoolExecutor(len(accounts)) as pool:
        list(pool.map(create, accounts))
    return share * len(accounts) / (time.perf_counter() - started)


accounts = [account(n) for n in range(1, 5)]
for one in accounts:
    one.contacts.all().count()      # folder and connection are there before the clock starts
print("%.1f" % max(rate(accounts[:threads], chunk)
                   for threads, chunk in itertools.product((1, 2, 4), (100, 500))))
