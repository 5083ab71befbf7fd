"""Requests in the style of the recorded ones: valid by the schema, as are their answers."""

import re
import shutil
import subprocess
import tempfile
import unittest

from stand_in import *

# One request for each operation; {item} is an id with its change key, {folder} a folder id.
RECORDED = {
    "GetFolder": '<m:GetFolder><m:FolderShape><t:BaseShape>Default</t:BaseShape></m:FolderShape><m:FolderIds>'
    '<t:DistinguishedFolderId Id="contacts"/></m:FolderIds></m:GetFolder>',
    "FindFolder": '<m:FindFolder Traversal="Deep"><m:FolderShape><t:BaseShape>AllProperties</t:BaseShape></m:FolderShape>'
    '<m:IndexedPageFolderView MaxEntriesReturned="5" Offset="0" BasePoint="Beginning"/><m:ParentFolderIds>'
    '<t:DistinguishedFolderId Id="msgfolderroot"/></m:ParentFolderIds></m:FindFolder>',
    "CreateFolder": '<m:CreateFolder><m:ParentFolderId><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderId>'
    "<m:Folders><t:ContactsFolder><t:DisplayName>A</t:DisplayName></t:ContactsFolder></m:Folders></m:CreateFolder>",
    "SyncFolderHierarchy": "<m:SyncFolderHierarchy><m:FolderShape><t:BaseShape>AllProperties</t:BaseShape></m:FolderShape>"
    "</m:SyncFolderHierarchy>",
    "CreateItem": create(
        contact(
            "<t:ItemClass>IPM.Contact</t:ItemClass><t:Subject>John Smith</t:Subject><t:Sensitivity>Private</t:Sensitivity>"
            '<t:Body BodyType="HTML">&lt;b&gt;note&lt;/b&gt;</t:Body><t:Categories><t:String>A</t:String><t:String>B</t:String>'
            "</t:Categories><t:Importance>High</t:Importance><t:ReminderIsSet>false</t:ReminderIsSet><t:ExtendedProperty>"
            '<t:ExtendedFieldURI PropertySetId="c11ff724-aa03-4555-9952-8fa248a11c3e" PropertyName="x" PropertyType="StringArray"/>'
            "<t:Values><t:Value>1</t:Value><t:Value>2</t:Value></t:Values></t:ExtendedProperty><t:FileAs>Smith, John</t:FileAs>"
            "<t:DisplayName>John Smith</t:DisplayName><t:GivenName>John</t:GivenName><t:Initials>J</t:Initials>"
            "<t:MiddleName>M</t:MiddleName><t:Nickname>Jo</t:Nickname><t:CompanyName>C</t:CompanyName><t:EmailAddresses>"
            '<t:Entry Key="EmailAddress1">john.smith@example.test</t:Entry></t:EmailAddresses><t:PhysicalAddresses>'
            '<t:Entry Key="Business"><t:Street>123 Street</t:Street><t:City>T</t:City><t:State>S</t:State>'
            "<t:CountryOrRegion>US</t:CountryOrRegion><t:PostalCode>1</t:PostalCode></t:Entry></t:PhysicalAddresses>"
            '<t:PhoneNumbers><t:Entry Key="HomePhone">000</t:Entry><t:Entry Key="BusinessPhone">1</t:Entry></t:PhoneNumbers>'
            "<t:AssistantName>A</t:AssistantName><t:Birthday>1980-01-02T11:59:00Z</t:Birthday>"
            "<t:BusinessHomePage>http://example.test/</t:BusinessHomePage><t:Children><t:String>K</t:String></t:Children>"
            "<t:Department>D</t:Department><t:Generation>Jr</t:Generation><t:ImAddresses><t:Entry Key=\"ImAddress1\">im</t:Entry>"
            "</t:ImAddresses><t:JobTitle>J</t:JobTitle><t:Manager>M</t:Manager><t:OfficeLocation>O</t:OfficeLocation>"
            "<t:PostalAddressIndex>Home</t:PostalAddressIndex><t:Profession>P</t:Profession><t:SpouseName>S</t:SpouseName>"
            "<t:Surname>Smith</t:Surname><t:WeddingAnniversary>2000-01-02T11:59:00Z</t:WeddingAnniversary>"
        )
    ),
    "GetItem": get(("{id}", ""), extra='<t:FieldURI FieldURI="item:Body"/><t:ExtendedFieldURI PropertySetId='
                   '"c11ff724-aa03-4555-9952-8fa248a11c3e" PropertyName="x" PropertyType="StringArray"/>'),
    "UpdateItem": update(
        ("{id}", "{key}"),
        set_field("contacts:JobTitle", "JobTitle", "CEO"),
        '<t:SetItemField><t:IndexedFieldURI FieldURI="contacts:PhoneNumber" FieldIndex="MobilePhone"/><t:Contact>'
        '<t:PhoneNumbers><t:Entry Key="MobilePhone">2</t:Entry></t:PhoneNumbers></t:Contact></t:SetItemField>',
        '<t:DeleteItemField><t:IndexedFieldURI FieldURI="contacts:PhoneNumber" FieldIndex="HomePhone"/></t:DeleteItemField>',
        '<t:DeleteItemField><t:FieldURI FieldURI="contacts:Manager"/></t:DeleteItemField>',
    ),
    "FindItem": find(
        '<t:Contains ContainmentMode="Substring" ContainmentComparison="IgnoreCase"><t:FieldURI FieldURI="contacts:Surname"/>'
        '<t:Constant Value="smi"/></t:Contains>',
        '<m:IndexedPageItemView MaxEntriesReturned="2" Offset="0" BasePoint="Beginning"/>', shape="AllProperties"),
    "SyncFolderItems": sync(shape="AllProperties"),
    "CopyItem": '<m:CopyItem><m:ToFolderId><t:DistinguishedFolderId Id="contacts"/></m:ToFolderId><m:ItemIds>'
    '<t:ItemId Id="{id}"/></m:ItemIds></m:CopyItem>',
    "DeleteItem": delete(("{id}", ""), kind="MoveToDeletedItems", attributes=' SendMeetingCancellations="SendToNone"'),
    "MoveItem": '<m:MoveItem><m:ToFolderId><t:DistinguishedFolderId Id="contacts"/></m:ToFolderId><m:ItemIds>'
    '<t:ItemId Id="{id}"/></m:ItemIds></m:MoveItem>',
    "ResolveNames": '<m:ResolveNames ReturnFullContactData="false"><m:UnresolvedEntry>user</m:UnresolvedEntry></m:ResolveNames>',
    "GetServerTimeZones": '<m:GetServerTimeZones ReturnFullTimeZoneData="true"/>',
}


def invalid(documents):
    """What xmllint says against named documents; empty when all are valid."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in documents.items():
            with open(os.path.join(directory, name), "wb") as file:
                file.write(text)
        command = ["xmllint", "--noout", "--schema", os.path.join(SCHEMA, "envelope.xsd"), *documents]
        result = subprocess.run(command, cwd=directory, capture_output=True)
        return "" if result.returncode == 0 else result.stderr.decode()


class Recorded(unittest.TestCase):
    """All operations in order; the schema check of the server itself is off, xmllint's counts."""

    @classmethod
    def setUpClass(cls):
        cls.server = StandIn(schema=False)
        cls.exchanges = {}
        pair = ("", "")
        for operation, request in RECORDED.items():
            text = envelope(request.replace("{id}", pair[0]).replace("{key}", pair[1]))
            answer = cls.server.post(text)
            cls.exchanges[operation] = (text, answer)
            if operation in ("CreateItem", "UpdateItem"):
                pair = answer.ids[0]
            if operation == "DeleteItem":
                pair = (cls.server.items(folder="deleteditems")[0]["id"], "")

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def test_all_succeed(self):
        for operation, (_, answer) in self.exchanges.items():
            with self.subTest(operation):
                self.assertEqual(answer.status, 200, answer.body)
                self.assertEqual(answer.codes, ["NoError"])
                self.assertIn(f"{operation}ResponseMessage", answer.messages[0].tag)
                self.assertEqual(answer.headers.get_content_type(), "text/xml")

    def test_contact_as_recorded(self):
        """The elements of a contact's answer, in the order of the recorded ones."""
        names = [e.tag[len(T):] for e in self.exchanges["GetItem"][1].xml.find(f".//{T}Contact")]
        recorded = (
            "ItemId ParentFolderId ItemClass Subject Sensitivity Body DateTimeReceived Size Importance IsSubmitted IsDraft "
            "IsFromMe IsResend IsUnmodified DateTimeSent DateTimeCreated DisplayCc DisplayTo HasAttachments Culture "
            "EffectiveRights LastModifiedName LastModifiedTime IsAssociated WebClientReadFormQueryString ConversationId FileAs "
            "FileAsMapping DisplayName GivenName CompleteName CompanyName EmailAddresses PhoneNumbers Department JobTitle Surname"
        ).split()
        self.assertEqual([n for n in names if n in recorded], recorded)

    @unittest.skipUnless(SCHEMA and shutil.which("xmllint"), "CRMSYNC_EWS_SCHEMA is not set")
    def test_valid_by_the_schema(self):
        documents = {}
        for operation, (request, answer) in self.exchanges.items():
            documents[f"{operation}.request"] = request.encode()
            documents[f"{operation}.answer"] = answer.body
        self.assertEqual(invalid(documents), "")

    @unittest.skipUnless(SCHEMA and shutil.which("xmllint"), "CRMSYNC_EWS_SCHEMA is not set")
    def test_errors_are_valid_too(self):
        documents = {}
        for operation, (request, _) in self.exchanges.items():
            for action in ("response", "fault", "inner", "busy_message"):
                self.server.fault(action, code="ErrorServerBusy", back_off_ms=5)
                documents[f"{operation}.{action}"] = self.server.post(request).body
        self.assertEqual(invalid(documents), "")

    @unittest.skipUnless(SCHEMA and shutil.which("xmllint"), "CRMSYNC_EWS_SCHEMA is not set")
    def test_the_check_can_fail(self):
        self.assertIn("JobTitel", invalid({"x": self.exchanges["UpdateItem"][0].replace("JobTitle>", "JobTitel>").encode()}))

    @unittest.skipUnless(SCHEMA, "CRMSYNC_EWS_SCHEMA is not set")
    def test_tables_follow_the_schema(self):
        """Our tables of sequences hold the elements of the schema, in its order."""
        tree = ElementTree.parse(os.path.join(SCHEMA, "types.xsd"))
        x = "{http://www.w3.org/2001/XMLSchema}"
        types = {t.get("name"): t for t in tree.iter(f"{x}complexType")}

        def own(name):
            return [e.get("name") or e.get("ref").split(":")[1] for e in types[name].iter(f"{x}element")]

        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "property_rows.cpp")) as file:
            source = file.read()
        tables = {
            "item_rows": "ItemType", "contact_rows": "ContactItemType",
            "calendar_rows": "CalendarItemType", "task_rows": "TaskType",
        }
        for table, name in tables.items():
            body = source.split(f"std::vector<Row> {table}()")[1].split("\nstd::vector<Row> ")[0]
            wanted, known = own(name), set(own(name))
            body = body.replace("file_as,", '"FileAs",').replace("start,", '"Start",').replace("end,", '"End",')
            body = body.replace("all_day,", '"IsAllDayEvent",').replace("responses,", '"IsResponseRequested",')
            body = body.replace("percent,", '"PercentComplete",')
            body = re.sub(r"Row \w+ = [^;]*;", "", body)
            found = [n for n in re.findall(r'"(\w+)"', body) if n in known]
            self.assertEqual(list(dict.fromkeys(found)), wanted, table)


if __name__ == "__main__":
    unittest.main()
