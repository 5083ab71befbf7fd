"""Starting the stand-in Exchange server, asking it in raw EWS, and steering it."""

import base64
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ElementTree

BUILD = os.environ.get("STAND_IN_BUILD", os.path.join(os.path.dirname(__file__), "../../build/exchange"))
SCHEMA = os.environ.get("CRMSYNC_EWS_SCHEMA", "")
USER, PASSWORD = "service@example.test", "secret"

T = "{http://schemas.microsoft.com/exchange/services/2006/types}"
M = "{http://schemas.microsoft.com/exchange/services/2006/messages}"
E = "{http://schemas.microsoft.com/exchange/services/2006/errors}"


def envelope(body, mailbox="user1@example.test", sid="PrimarySmtpAddress"):
    header = ""
    if mailbox:
        header = (
            f"<t:ExchangeImpersonation><t:ConnectingSID><t:{sid}>{mailbox}</t:{sid}>"
            "</t:ConnectingSID></t:ExchangeImpersonation>"
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"'
        ' xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages">'
        '<s:Header><t:RequestServerVersion Version="Exchange2013_SP1"/>' + header + "</s:Header>"
        "<s:Body>" + body + "</s:Body></s:Envelope>"
    )


def create(*items, folder="contacts", attributes=""):
    return (
        f'<m:CreateItem MessageDisposition="SaveOnly"{attributes}><m:SavedItemFolderId>'
        f'<t:DistinguishedFolderId Id="{folder}"/></m:SavedItemFolderId>'
        "<m:Items>" + "".join(items) + "</m:Items></m:CreateItem>"
    )


def contact(inner):
    return f"<t:Contact>{inner}</t:Contact>"


def item_id(pair):
    key = f' ChangeKey="{pair[1]}"' if pair[1] else ""
    return f'<t:ItemId Id="{pair[0]}"{key}/>'


def get(*pairs, shape="AllProperties", extra=""):
    more = f"<t:AdditionalProperties>{extra}</t:AdditionalProperties>" if extra else ""
    return (
        f"<m:GetItem><m:ItemShape><t:BaseShape>{shape}</t:BaseShape>{more}</m:ItemShape><m:ItemIds>"
        + "".join(item_id(p) for p in pairs)
        + "</m:ItemIds></m:GetItem>"
    )


def update(pair, *fields, resolution="NeverOverwrite", attributes=""):
    return (
        f'<m:UpdateItem ConflictResolution="{resolution}" MessageDisposition="SaveOnly"{attributes}>'
        f"<m:ItemChanges><t:ItemChange>{item_id(pair)}<t:Updates>"
        + "".join(fields)
        + "</t:Updates></t:ItemChange></m:ItemChanges></m:UpdateItem>"
    )


def set_field(uri, element, value, item="Contact"):
    return (
        f'<t:SetItemField><t:FieldURI FieldURI="{uri}"/><t:{item}><t:{element}>{value}'
        f"</t:{element}></t:{item}></t:SetItemField>"
    )


def delete(*pairs, kind="HardDelete", attributes=""):
    return (
        f'<m:DeleteItem DeleteType="{kind}"{attributes}><m:ItemIds>'
        + "".join(item_id(p) for p in pairs)
        + "</m:ItemIds></m:DeleteItem>"
    )


def attach(pair, content, photo=True, name="ContactPicture.jpg", kind="image/jpeg"):
    text = base64.b64encode(content).decode()
    return (
        f'<m:CreateAttachment><m:ParentItemId Id="{pair[0]}"/><m:Attachments><t:FileAttachment><t:Name>{name}</t:Name>'
        f"<t:ContentType>{kind}</t:ContentType><t:IsContactPhoto>{str(photo).lower()}</t:IsContactPhoto>"
        f"<t:Content>{text}</t:Content></t:FileAttachment></m:Attachments></m:CreateAttachment>"
    )


def attachments(operation, *ids):
    listed = "".join(f'<t:AttachmentId Id="{i}"/>' for i in ids)
    return f"<m:{operation}><m:AttachmentIds>{listed}</m:AttachmentIds></m:{operation}>"


def find(restriction="", view="", folder="contacts", shape="IdOnly", sort="", extra=""):
    more = f"<t:AdditionalProperties>{extra}</t:AdditionalProperties>" if extra else ""
    return (
        f'<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>{shape}</t:BaseShape>{more}</m:ItemShape>'
        + view
        + (f"<m:Restriction>{restriction}</m:Restriction>" if restriction else "")
        + sort
        + f'<m:ParentFolderIds><t:DistinguishedFolderId Id="{folder}"/></m:ParentFolderIds></m:FindItem>'
    )


def sync(state="", most=512, folder="contacts", shape="IdOnly"):
    return (
        f"<m:SyncFolderItems><m:ItemShape><t:BaseShape>{shape}</t:BaseShape></m:ItemShape>"
        f'<m:SyncFolderId><t:DistinguishedFolderId Id="{folder}"/></m:SyncFolderId>'
        + (f"<m:SyncState>{state}</m:SyncState>" if state else "")
        + f"<m:MaxChangesReturned>{most}</m:MaxChangesReturned></m:SyncFolderItems>"
    )


class Answer:
    """One HTTP answer; parsed lazily."""

    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def xml(self):
        return ElementTree.fromstring(self.body)

    @property
    def fault(self):
        """Response code of a SOAP fault, or None."""
        code = self.xml.find(f".//{E}ResponseCode")
        return None if code is None else code.text

    @property
    def messages(self):
        return list(self.xml.find(f".//{M}ResponseMessages"))

    @property
    def codes(self):
        return [m.find(f"{M}ResponseCode").text for m in self.messages]

    @property
    def ids(self):
        return [(e.get("Id"), e.get("ChangeKey")) for e in self.xml.iter(f"{T}ItemId")]

    @property
    def attachments(self):
        return [e.get("Id") for e in self.xml.iter(f"{T}AttachmentId")]

    def text(self, element):
        found = self.xml.find(f".//{T}{element}")
        return None if found is None else (found.text or "")

    def entries(self, element):
        found = self.xml.find(f".//{T}{element}")
        return {} if found is None else {e.get("Key"): e.text for e in found}


class StandIn:
    """A running server; ends with `stop`, or at the end of a `with`."""

    def __init__(self, *arguments, schema=True, mailboxes=3):
        self.directory = tempfile.TemporaryDirectory(prefix="stand-in-")
        port_file = os.path.join(self.directory.name, "port")
        command = [os.path.join(BUILD, "exchange_stand_in"), "--port-file", port_file]
        command += ["--mailboxes", str(mailboxes), *arguments]
        if schema and SCHEMA:
            command += ["--schema", SCHEMA, "--check-answers"]
        self.tls = "--cert" in arguments
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the stand-in did not start")
            time.sleep(0.01)
        with open(port_file) as file:
            self.port = int(file.read())

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()

    def connect(self, timeout=10):
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def post(self, text, authorization=None, headers=None, timeout=10, connection=None):
        """Sends a request as it is."""
        if authorization is None:
            authorization = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Content-Type": "text/xml; charset=utf-8", **(headers or {})}
        if authorization:
            headers["Authorization"] = authorization
        body = text if isinstance(text, bytes) else text.encode()
        own = connection or self.connect(timeout)
        try:
            own.request("POST", "/EWS/Exchange.asmx", body, headers)
            response = own.getresponse()
            return Answer(response, response.read())
        finally:
            if connection is None:
                own.close()

    def ews(self, body, mailbox="user1@example.test", **options):
        sid = options.pop("sid", "PrimarySmtpAddress")
        return self.post(envelope(body, mailbox, sid), **options)

    def control(self, method, path, **body):
        connection = self.connect()
        text = json.dumps(body) if body else None
        connection.request(method, "/control/" + path, text)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer

    def fault(self, action, **settings):
        return self.control("POST", "faults", action=action, **settings)

    def items(self, mailbox="user1@example.test", folder="contacts"):
        content = self.control("GET", "mailbox?address=" + mailbox)
        return [i for f in content["folders"] if folder in (f["distinguished"], f["name"]) for i in f["items"]]
