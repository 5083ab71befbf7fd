"""How many contacts a second the stand-in takes: CreateItem in batches over several connections.

    load.py HOST:PORT [connections] [seconds] [batch]

Each connection is a process with a mailbox of its own and one prepared body, so that little of the
measured time is the client's. Prints `name value unit` lines.
"""

import base64
import multiprocessing
import socket
import sys
import time

from stand_in import PASSWORD, USER, create, contact, envelope


def one(n):
    """A contact of twenty fields."""
    return contact(
        '<t:Body BodyType="Text">Notes of the person, a line or two as they are.</t:Body><t:ExtendedProperty>'
        '<t:ExtendedFieldURI PropertySetId="5f1c1a5e-3b0e-4c7a-9d53-6f3f6f0a7b11" PropertyName="stamp" PropertyType="String"/>'
        f"<t:Value>instance/link/{n}</t:Value></t:ExtendedProperty><t:FileAs>Lovelace, Ada {n}</t:FileAs>"
        f"<t:GivenName>Ada {n}</t:GivenName><t:MiddleName>K</t:MiddleName><t:CompanyName>Analytical Engines</t:CompanyName>"
        f'<t:EmailAddresses><t:Entry Key="EmailAddress1">ada{n}@example.test</t:Entry></t:EmailAddresses><t:PhysicalAddresses>'
        '<t:Entry Key="Business"><t:Street>12 St James Square</t:Street><t:City>London</t:City><t:State>LDN</t:State>'
        "<t:CountryOrRegion>United Kingdom</t:CountryOrRegion><t:PostalCode>SW1Y</t:PostalCode></t:Entry></t:PhysicalAddresses>"
        '<t:PhoneNumbers><t:Entry Key="BusinessFax">+44 20 3</t:Entry><t:Entry Key="BusinessPhone">+44 20 1</t:Entry>'
        '<t:Entry Key="HomePhone">+44 20 4</t:Entry><t:Entry Key="MobilePhone">+44 20 2</t:Entry></t:PhoneNumbers>'
        "<t:Birthday>1815-12-10T11:59:00Z</t:Birthday><t:Department>Numbers</t:Department><t:JobTitle>Countess</t:JobTitle>"
        "<t:Surname>Lovelace</t:Surname>"
    )


def client(host, port, mailbox, batch, seconds, results):
    body = envelope(create(*[one(n) for n in range(batch)]), mailbox).encode()
    authorization = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    head = (
        f"POST /EWS/Exchange.asmx HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/xml; charset=utf-8\r\n"
        f"Authorization: Basic {authorization}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    requests, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        connection.sendall(head + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1 << 18)
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        missing = length - len(answer.split(b"\r\n\r\n", 1)[1])
        while missing > 0:
            part = connection.recv(1 << 18)
            missing -= len(part)
            answer += part
        if answer.count(b"NoError") != batch:
            raise SystemExit(answer[:2000])
        requests += 1
    results.put(requests)


def main():
    host, port = sys.argv[1].split(":")
    connections, seconds, batch = (int(a) for a in (sys.argv[2:] + ["4", "5", "50"][len(sys.argv) - 2:])[:3])
    results = multiprocessing.Queue()
    start = time.monotonic()
    processes = [
        multiprocessing.Process(target=client, args=(host, int(port), f"user{n + 1}@example.test", batch, seconds, results))
        for n in range(connections)
    ]
    for process in processes:
        process.start()
    requests = sum(results.get() for _ in processes)
    took = time.monotonic() - start
    print(f"stand_in.create_items {requests * batch / took:.0f} items/s")
    print(f"stand_in.requests {requests / took:.1f} requests/s")


if __name__ == "__main__":
    main()
