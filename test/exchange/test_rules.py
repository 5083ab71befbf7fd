"""What the stand-in enforces, asked in raw EWS."""

import base64
import unittest

from stand_in import *

ADA = contact("<t:FileAs>Lovelace, Ada</t:FileAs><t:GivenName>Ada</t:GivenName><t:Surname>Lovelace</t:Surname>")
STAMP = '<t:ExtendedFieldURI DistinguishedPropertySetId="PublicStrings" PropertyName="stamp" PropertyType="String"/>'
STAMP_BY_GUID = (
    '<t:ExtendedFieldURI PropertySetId="00020329-0000-0000-C000-000000000046" PropertyName="stamp"'
    ' PropertyType="String"/>'
)


def stamped(value, more=""):
    return contact(f"<t:ExtendedProperty>{STAMP}<t:Value>{value}</t:Value></t:ExtendedProperty>{more}")


def equals(path, value):
    return f'<t:IsEqualTo>{path}<t:FieldURIOrConstant><t:Constant Value="{value}"/></t:FieldURIOrConstant></t:IsEqualTo>'


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = StandIn()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def setUp(self):
        self.server.control("POST", "reset")

    def ask(self, body, *codes, **options):
        answer = self.server.ews(body, **options)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.codes, list(codes) or ["NoError"], answer.body)
        return answer

    def refuse(self, body, code, **options):
        answer = self.server.ews(body, **options)
        self.assertEqual((answer.status, answer.fault), (500, code), answer.body)
        return answer

    def made(self, *items, **options):
        return self.ask(create(*items, **options), *["NoError"] * len(items)).ids

    # Authentication and impersonation

    def test_401_without_credentials(self):
        for authorization in ("", "Basic d3Jvbmc6d3Jvbmc=", "Bearer none"):
            answer = self.server.ews(find(), authorization=authorization)
            self.assertEqual(answer.status, 401)
            self.assertIn("Basic", answer.headers["WWW-Authenticate"])

    def test_unknown_mailbox(self):
        self.refuse(find(), "ErrorNonExistentMailbox", mailbox="nobody@example.test")

    def test_denied_impersonation(self):
        self.server.control("POST", "mailbox", address="user2@example.test", deny_impersonation=True)
        self.refuse(find(), "ErrorImpersonateUserDenied", mailbox="user2@example.test")
        self.ask(find())

    def test_impersonation_by_sid_and_case(self):
        sid = self.server.control("GET", "mailbox?address=user1@example.test")["sid"]
        self.ask(find(), mailbox=sid, sid="SID")
        self.ask(find(), mailbox="USER1@Example.Test")
        self.refuse(find(), "ErrorInvalidUserPrincipalName", mailbox="none@example.test", sid="PrincipalName")

    def test_secondary_address(self):
        self.server.control(
            "POST", "mailbox", address="user3@example.test", rename_to="new3@example.test", keep_old=True
        )
        answer = self.refuse(find(), "ErrorNonPrimarySmtpAddress", mailbox="user3@example.test")
        self.assertIn(b"new3@example.test", answer.body)
        self.ask(find(), mailbox="new3@example.test")

    def test_another_mailbox_is_closed(self):
        ids = self.made(ADA)
        self.ask(get(*ids), "ErrorAccessDenied", mailbox="user2@example.test")

    def test_unknown_version(self):
        text = envelope(find()).replace("Exchange2013_SP1", "Exchange2099")
        self.assertEqual(self.server.post(text).fault, "ErrorInvalidServerVersion")

    # The schema, with and without its files

    def test_element_order(self):
        wrong = contact("<t:Surname>L</t:Surname><t:GivenName>A</t:GivenName>")
        answer = self.refuse(create(ADA, wrong), "ErrorSchemaValidation")
        self.assertIsNotNone(answer.text("LineNumber"))
        self.assertIn("GivenName", answer.text("Violation"))
        self.assertEqual(self.server.items(), [])

    def test_extended_property_behind_contact_elements(self):
        wrong = contact(
            f"<t:GivenName>A</t:GivenName><t:ExtendedProperty>{STAMP}<t:Value>x</t:Value></t:ExtendedProperty>"
        )
        self.refuse(create(wrong), "ErrorSchemaValidation")

    def test_address_parts_order(self):
        wrong = "<t:City>c</t:City><t:Street>s</t:Street>"
        text = f'<t:PhysicalAddresses><t:Entry Key="Home">{wrong}</t:Entry></t:PhysicalAddresses>'
        self.refuse(create(contact(text)), "ErrorSchemaValidation")

    def test_unknown_things(self):
        four = '<t:EmailAddresses><t:Entry Key="EmailAddress4">a@b</t:Entry></t:EmailAddresses>'
        lower = '<t:EmailAddresses><t:Entry key="EmailAddress1">a@b</t:Entry></t:EmailAddresses>'
        for inner in (four, lower, "<t:FirstName>A</t:FirstName>", "<t:Birthday>1980-01-02</t:Birthday>"):
            self.refuse(create(contact(inner)), "ErrorSchemaValidation")
        self.refuse(find(extra='<t:FieldURI FieldURI="contacts:FirstName"/>'), "ErrorSchemaValidation")
        self.refuse(sync(most=513), "ErrorSchemaValidation")
        self.refuse("<m:FindItem><m:ItemShape/></m:FindItem>", "ErrorSchemaValidation")

    def test_wrong_namespace(self):
        text = envelope(find()).replace("http://schemas.microsoft.com", "https://schemas.microsoft.com")
        self.assertEqual(self.server.post(text).fault, "ErrorSchemaValidation")

    def test_namespaces_within_an_item(self):
        given = "<t:GivenName>X</t:GivenName>"
        for other in ("<m:Surname>Y</m:Surname>", '<t:Surname xmlns:t="urn:x">Y</t:Surname>', '<Surname xmlns="urn:x">Y</Surname>'):
            self.refuse(create(contact(given + other)), "ErrorSchemaValidation")

    def test_illegal_characters(self):
        for bad in ("&#x0;", "&#11;", "\x0b", "&#xD83D;", "\uffff"):
            self.refuse(create(contact(f"<t:GivenName>{bad}</t:GivenName>")), "ErrorSchemaValidation")
        broken = envelope(create(contact("<t:GivenName>X</t:GivenName>"))).encode()
        for bad in (b"\xff", b"\xed\xa0\xbd", b"\xc0\x80"):
            answer = self.server.post(broken.replace(b">X<", b">" + bad + b"<"))
            self.assertEqual((answer.status, answer.fault), (500, "ErrorSchemaValidation"))

    def test_not_xml(self):
        for text in ("", "hello", "<a>", envelope("")):
            self.assertEqual(self.server.post(text).status, 500)

    # Writing

    def test_change_keys(self):
        first = self.made(ADA)[0]
        second = self.ask(update(first, set_field("contacts:JobTitle", "JobTitle", "a"))).ids[0]
        self.assertEqual(first[0], second[0])
        self.assertNotEqual(first[1], second[1])
        change = set_field("contacts:JobTitle", "JobTitle", "b")
        self.ask(update(first, change), "ErrorIrresolvableConflict")
        self.ask(update((first[0], ""), change), "ErrorChangeKeyRequiredForWriteOperations")
        self.ask(update((first[0], "garbage="), change), "ErrorInvalidChangeKey")
        self.ask(update(first, change, resolution="AlwaysOverwrite"))
        self.ask(update(first, change, resolution="AutoResolve"))

    def test_one_property_in_each_field(self):
        pair = self.made(ADA)[0]
        uri = '<t:FieldURI FieldURI="contacts:JobTitle"/>'
        two = f"<t:SetItemField>{uri}<t:Contact><t:JobTitle>a</t:JobTitle><t:Manager>b</t:Manager></t:Contact></t:SetItemField>"
        none = f"<t:SetItemField>{uri}<t:Contact/></t:SetItemField>"
        parts = (
            '<t:SetItemField><t:IndexedFieldURI FieldURI="contacts:PhysicalAddress:Street" FieldIndex="Home"/>'
            '<t:Contact><t:PhysicalAddresses><t:Entry Key="Home"><t:Street>s</t:Street><t:City>c</t:City>'
            "</t:Entry></t:PhysicalAddresses></t:Contact></t:SetItemField>"
        )
        for field in (two, none, parts):
            self.ask(update(pair, field), "ErrorIncorrectUpdatePropertyCount")
        self.ask(update(pair, set_field("contacts:JobTitle", "Manager", "x")), "ErrorUpdatePropertyMismatch")

    def test_failed_update_changes_nothing(self):
        pair = self.made(ADA)[0]
        fields = [
            set_field("contacts:JobTitle", "JobTitle", "new"),
            set_field("contacts:GivenName", "GivenName", "x" * 256),
        ]
        self.ask(update(pair, *fields), "ErrorPropertyUpdate")
        self.assertIsNone(self.ask(get(pair)).text("JobTitle"))
        self.assertEqual(self.ask(get(pair)).ids[0], pair)

    def test_read_only_properties(self):
        self.ask(create(contact("<t:HasPicture>true</t:HasPicture>")), "ErrorInvalidPropertySet")
        self.ask(create(contact("<t:Notes>x</t:Notes>")), "ErrorInvalidPropertyRequest")

    def test_too_long(self):
        mail = '<t:EmailAddresses><t:Entry Key="EmailAddress1">{}</t:Entry></t:EmailAddresses>'
        good, bad = mail.format("a@example.test"), mail.format("a" * 300 + "@example.test")
        answer = self.ask(
            create(contact(good), contact(bad), contact(good)), "NoError", "ErrorInvalidPropertySet", "NoError"
        )
        self.assertTrue(answer.messages[1].find(f"{M}MessageText").text)
        self.ask(create(contact(f"<t:Surname>{'x' * 256}</t:Surname>")), "ErrorItemSavePropertyError")
        self.ask(create(contact(f"<t:Surname>{'ä' * 255}</t:Surname>")))

    def test_quota(self):
        self.server.control("POST", "mailbox", address="user1@example.test", quota=1000)
        codes = self.server.ews(create(*[ADA] * 5)).codes
        self.assertEqual(codes[0], "NoError")
        self.assertEqual(codes[-1], "ErrorQuotaExceeded")

    def test_folder_classes(self):
        self.ask(create(ADA, folder="calendar"), "ErrorCannotCreateContactInNonContactFolder")
        self.ask(create(ADA, folder="conflicts"), "ErrorFolderNotFound")

    # What the server makes of it

    def test_names(self):
        pair = self.made(contact("<t:GivenName>Ada</t:GivenName><t:Surname>Lovelace</t:Surname>"))[0]
        answer = self.ask(get(pair))
        self.assertEqual(answer.text("FileAs"), "")
        self.assertEqual(answer.text("FileAsMapping"), "None")
        self.assertEqual(answer.text("DisplayName"), "Ada Lovelace")
        self.assertEqual(answer.text("Subject"), "Ada Lovelace")
        gone = '<t:DeleteItemField><t:FieldURI FieldURI="contacts:GivenName"/></t:DeleteItemField>'
        pair = self.ask(update(pair, gone)).ids[0]
        answer = self.ask(get(pair))
        self.assertEqual(answer.text("DisplayName"), "Lovelace")
        self.assertEqual(answer.text("Subject"), "Lovelace")

    def test_birthday(self):
        pair = self.made(contact("<t:Birthday>1980-01-02T01:30:00.5+02:00</t:Birthday>"))[0]
        self.assertEqual(self.ask(get(pair)).text("Birthday"), "1980-01-01T23:30:00Z")

    def test_days_of_outlook(self):
        pair = self.made(contact("<t:Birthday>1980-01-02T11:59:00Z</t:Birthday>"))[0]
        local = '<t:ExtendedFieldURI DistinguishedPropertySetId="Address" PropertyId="32990" PropertyType="SystemTime"/>'
        set_local = (f"<t:SetItemField>{local}<t:Contact><t:ExtendedProperty>{local}<t:Value>1981-02-03T00:00:00Z</t:Value>"
                     "</t:ExtendedProperty></t:Contact></t:SetItemField>")
        gone = '<t:DeleteItemField><t:FieldURI FieldURI="contacts:Birthday"/></t:DeleteItemField>'
        pair = self.ask(update(pair, set_local, gone)).ids[0]
        self.assertEqual(self.ask(get(pair)).text("Birthday"), "1981-02-03T00:00:00Z")
        pair = self.ask(update(pair, f"<t:DeleteItemField>{local}</t:DeleteItemField>")).ids[0]
        self.assertFalse(self.ask(get(pair)).text("Birthday"))

    def test_body_lines(self):
        pair = self.made(contact('<t:Body BodyType="Text">a\nb</t:Body>'))[0]
        self.assertEqual(self.ask(get(pair)).text("Body"), "a\r\nb")

    def test_email_group(self):
        mail = '<t:EmailAddresses><t:Entry Key="EmailAddress1" Name="A">a@example.test</t:Entry></t:EmailAddresses>'
        pair = self.made(contact(mail))[0]
        index = '<t:IndexedFieldURI FieldURI="contacts:EmailAddress" FieldIndex="EmailAddress1"/>'
        pair = self.ask(update(pair, f"<t:DeleteItemField>{index}</t:DeleteItemField>")).ids[0]
        self.assertEqual(self.ask(get(pair)).entries("EmailAddresses"), {"EmailAddress1": "a@example.test"})
        group = [
            '<t:DeleteItemField><t:ExtendedFieldURI DistinguishedPropertySetId="Address" PropertyId='
            f'"{number}" PropertyType="{kind}"/></t:DeleteItemField>'
            for number, kind in ((32896, "String"), (32898, "String"), (32899, "String"), (32900, "String"), (32901, "Binary"))
        ]
        pair = self.ask(update(pair, *group)).ids[0]
        self.assertEqual(self.ask(get(pair)).entries("EmailAddresses"), {})

    def test_whole_address(self):
        parts = (
            "<t:Street>1 Main</t:Street><t:City>Town</t:City><t:State>ST</t:State>"
            "<t:CountryOrRegion>US</t:CountryOrRegion><t:PostalCode>123</t:PostalCode>"
        )
        pair = self.made(
            contact(f'<t:PhysicalAddresses><t:Entry Key="Business">{parts}</t:Entry></t:PhysicalAddresses>')
        )[0]
        path = '<t:ExtendedFieldURI DistinguishedPropertySetId="Address" PropertyId="32795" PropertyType="String"/>'
        answer = self.ask(get(pair, extra=path))
        self.assertEqual(answer.text("Value"), "1 Main\r\nTown, ST  123\r\nUS")
        by_tag = '<t:ExtendedFieldURI PropertyTag="0x3A11" PropertyType="String"/>'
        self.assertIsNone(self.ask(get(pair, extra=by_tag)).text("Value"))

    def test_extended_properties(self):
        pair = self.made(stamped("one", "<t:Surname>S</t:Surname>"))[0]
        self.assertEqual(self.ask(get(pair, extra=STAMP_BY_GUID)).text("Value"), "one")
        tag = '<t:ExtendedFieldURI PropertyTag="0x3A11" PropertyType="String"/>'
        self.assertEqual(self.ask(get(pair, extra=tag)).text("Value"), "S")
        self.server.control("POST", "server", property_sets_as_guid=True)
        found = self.ask(get(pair, extra=STAMP)).xml.find(f".//{T}ExtendedFieldURI")
        self.assertEqual(found.get("PropertySetId"), "00020329-0000-0000-c000-000000000046")
        self.server.control("POST", "server", property_sets_as_guid=False)

    def test_refused_extended_properties(self):
        named = '<t:ExtendedFieldURI PropertyTag="0x8001" PropertyType="String"/>'
        wrong = contact(f"<t:ExtendedProperty>{named}<t:Value>x</t:Value></t:ExtendedProperty>")
        self.ask(create(wrong), "ErrorInvalidExtendedProperty")
        gender = '<t:ExtendedFieldURI PropertyTag="0x3A4D" PropertyType="Short"/>'
        value = contact(f"<t:ExtendedProperty>{gender}<t:Value>female</t:Value></t:ExtendedProperty>")
        self.ask(create(value), "ErrorInvalidExtendedPropertyValue")
        self.ask(create(contact(f"<t:ExtendedProperty>{gender}<t:Value>1</t:Value></t:ExtendedProperty>")))

    # Attachments

    SHOWN = '<t:FieldURI FieldURI="item:Attachments"/><t:FieldURI FieldURI="item:HasAttachments"/>' \
        '<t:FieldURI FieldURI="contacts:HasPicture"/>'

    def look(self, pair):
        return self.ask(get(pair, shape="IdOnly", extra=self.SHOWN))

    def test_a_photo_is_an_attachment(self):
        pair = self.made(ADA)[0]
        self.assertEqual(self.look(pair).text("HasAttachments"), "false")
        answer = self.ask(attach(pair, b"\xff\xd8\xff picture"))
        made = answer.xml.find(f".//{T}AttachmentId")
        self.assertEqual(made.get("RootItemId"), pair[0])
        seen = self.look(pair)
        self.assertEqual(seen.ids[0], (pair[0], made.get("RootItemChangeKey")))
        self.assertNotEqual(seen.ids[0][1], pair[1])
        self.assertEqual([seen.text(e) for e in ("IsContactPhoto", "HasAttachments", "HasPicture")], ["true"] * 3)
        self.assertEqual((seen.text("Name"), seen.text("ContentType")), ("ContactPicture.jpg", "image/jpeg"))
        self.assertIsNone(seen.text("Content"))
        self.assertEqual(seen.attachments, [made.get("Id")])
        content = self.ask(attachments("GetAttachment", made.get("Id"))).text("Content")
        self.assertEqual(base64.b64decode(content), b"\xff\xd8\xff picture")
        gone = self.ask(attachments("DeleteAttachment", made.get("Id"))).xml.find(f".//{M}RootItemId")
        after = self.look(pair)
        self.assertEqual(after.ids[0], (gone.get("RootItemId"), gone.get("RootItemChangeKey")))
        self.assertEqual(after.attachments, [])

    def test_attachments_that_are_not_there(self):
        pair = self.made(ADA)[0]
        made = self.ask(attach(pair, b"x")).attachments[0]
        self.ask(attachments("DeleteAttachment", made))
        self.ask(attachments("GetAttachment", made, "AAAA"), "ErrorInvalidAttachmentId", "ErrorInvalidIdMalformed")
        self.ask(attachments("DeleteAttachment", made), "ErrorInvalidAttachmentId")
        self.ask(delete(pair))
        self.ask(attach(pair, b"x"), "ErrorItemNotFound")

    def test_an_attachment_is_a_change(self):
        pair = self.made(ADA)[0]
        state = self.changes()[0]
        self.ask(attach(pair, b"x"))
        self.assertEqual(self.changes(state)[1], [("Update", pair[0])])
        self.ask(update(pair, set_field("contacts:JobTitle", "JobTitle", "a")), "ErrorIrresolvableConflict")

    def test_attachments_have_limits(self):
        pair = self.made(ADA)[0]
        used = self.server.control("GET", "mailbox?address=user1@example.test")["used"]
        self.server.control("POST", "mailbox", address="user1@example.test", item_limit=10000)
        self.ask(attach(pair, b"x" * 10001), "ErrorMessageSizeExceeded")
        self.ask(attach(pair, b"x" * 5000))
        self.assertEqual(self.server.control("GET", "mailbox?address=user1@example.test")["used"], used + 5000)
        self.server.control("POST", "mailbox", address="user1@example.test", quota=used + 6000)
        self.ask(attach(pair, b"x" * 2000), "ErrorQuotaExceeded")

    def test_the_user_has_photos(self):
        pair = self.made(ADA)[0]
        for content in (b"one", b"two"):
            text = base64.b64encode(content).decode()
            self.server.control(
                "POST", "items", mailbox="user1@example.test", action="update", id=pair[0], photo=text
            )
            listed = self.look(pair).attachments
            self.assertEqual(len(listed), 1)
            self.assertEqual(self.ask(attachments("GetAttachment", *listed)).text("Content"), text)
        self.server.control("POST", "items", mailbox="user1@example.test", action="update", id=pair[0], photo=None)
        self.assertEqual(self.look(pair).attachments, [])

    def test_attachments_follow_the_schema(self):
        pair = self.made(ADA)[0]
        good = attach(pair, b"x")
        kind = "<t:ContentType>image/jpeg</t:ContentType>"
        self.refuse(good.replace(kind, "").replace("</t:Content>", "</t:Content>" + kind), "ErrorSchemaValidation")
        self.refuse(attachments("GetAttachment", "x").replace(' Id="x"', ""), "ErrorSchemaValidation")
        self.ask(find(extra='<t:FieldURI FieldURI="item:Attachments"/>'), "ErrorInvalidPropertyRequest")

    # Reading

    def test_batch_is_mixed(self):
        pair = self.made(ADA)[0]
        self.ask(get(pair, ("AAAA", ""), pair), "NoError", "ErrorInvalidIdMalformed", "NoError")
        self.ask(delete(pair))
        self.ask(get(pair), "ErrorItemNotFound")
        self.ask(delete(pair), "ErrorItemNotFound")

    def test_shapes(self):
        pair = self.made(ADA)[0]
        self.assertEqual(len(self.ask(get(pair, shape="IdOnly")).xml.find(f".//{T}Contact")), 1)
        answer = self.ask(get(pair, shape="IdOnly", extra='<t:FieldURI FieldURI="contacts:Surname"/>'))
        self.assertEqual([e.tag[len(T):] for e in answer.xml.find(f".//{T}Contact")], ["ItemId", "Surname"])
        self.assertEqual(self.ask(get(pair, shape="Default")).text("DisplayName"), "Ada Lovelace")
        self.ask(find(extra='<t:FieldURI FieldURI="item:Body"/>'), "ErrorInvalidPropertyRequest")

    def test_restrictions(self):
        self.made(stamped("a", "<t:GivenName>Ann</t:GivenName>"), stamped("b", "<t:GivenName>Bob</t:GivenName>"), ADA)
        given = '<t:FieldURI FieldURI="contacts:GivenName"/>'

        def count(restriction):
            return int(self.ask(find(restriction)).xml.find(f".//{M}RootFolder").get("TotalItemsInView"))

        self.assertEqual(count(equals(STAMP, "a")), 1)
        self.assertEqual(count(equals(STAMP_BY_GUID, "b")), 1)
        self.assertEqual(count(equals(STAMP, "A")), 0)
        self.assertEqual(count(f"<t:Exists>{STAMP}</t:Exists>"), 2)
        self.assertEqual(count(f"<t:Not><t:Exists>{STAMP}</t:Exists></t:Not>"), 1)
        self.assertEqual(count(f"<t:And>{equals(STAMP, 'a')}{equals(given, 'Ann')}</t:And>"), 1)
        self.assertEqual(count(f"<t:And>{equals(STAMP, 'a')}{equals(given, 'Bob')}</t:And>"), 0)
        self.assertEqual(count(f"<t:Or>{equals(STAMP, 'a')}{equals(given, 'Bob')}</t:Or>"), 2)
        contains = '<t:Contains ContainmentMode="{}" ContainmentComparison="IgnoreCase">{}<t:Constant Value="{}"/></t:Contains>'
        self.assertEqual(count(contains.format("Prefixed", given, "a")), 2)
        self.assertEqual(count(contains.format("Substring", given, "O")), 1)
        self.assertEqual(count(contains.format("FullString", given, "ADA")), 1)

    def test_pages(self):
        self.made(*[contact(f"<t:GivenName>{n:03}</t:GivenName>") for n in range(300)])
        view = '<m:IndexedPageItemView MaxEntriesReturned="{}" Offset="{}" BasePoint="Beginning"/>'
        root = self.ask(find(view=view.format(100, 250))).xml.find(f".//{M}RootFolder")
        self.assertEqual(len(root[0]), 50)
        self.assertEqual(root.get("IncludesLastItemInRange"), "true")
        everything = '<t:Exists><t:FieldURI FieldURI="contacts:GivenName"/></t:Exists>'
        root = self.ask(find(everything, view=view.format(1000, 0))).xml.find(f".//{M}RootFolder")
        self.assertEqual((len(root[0]), root.get("IncludesLastItemInRange")), (250, "false"))
        self.assertEqual(root.get("TotalItemsInView"), "300")
        sort = '<m:SortOrder><t:FieldOrder Order="Descending"><t:FieldURI FieldURI="contacts:GivenName"/></t:FieldOrder></m:SortOrder>'
        answer = self.ask(find(view=view.format(2, 0), sort=sort, shape="Default"))
        self.assertEqual([e.text for e in answer.xml.iter(f"{T}GivenName")], ["299", "298"])

    # Moving, deleting, folders

    def test_ids_change_on_move(self):
        pair = self.made(stamped("x"))[0]
        self.ask(delete(pair, kind="MoveToDeletedItems"))
        self.ask(get(pair), "ErrorItemNotFound")
        bin_ = self.server.items(folder="deleteditems")
        self.assertEqual(len(bin_), 1)
        self.assertNotEqual(bin_[0]["id"], pair[0])
        back = (
            '<m:MoveItem><m:ToFolderId><t:DistinguishedFolderId Id="contacts"/></m:ToFolderId><m:ItemIds>'
            f"{item_id((bin_[0]['id'], ''))}</m:ItemIds></m:MoveItem>"
        )
        moved = self.ask(back).ids[0]
        self.assertNotIn(moved[0], (pair[0], bin_[0]["id"]))
        copy = self.ask(back.replace("MoveItem", "CopyItem").replace(bin_[0]["id"], moved[0])).ids[0]
        self.assertEqual(self.ask(get(copy, extra=STAMP)).text("Value"), "x")
        self.assertEqual(len(self.server.items()), 2)
        nowhere = back.replace('"contacts"', '"conflicts"').replace(bin_[0]["id"], moved[0])
        self.ask(nowhere, "ErrorFolderNotFound")
        self.assertEqual(len(self.server.items()), 2)

    def test_folders(self):
        make = (
            '<m:CreateFolder><m:ParentFolderId><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderId><m:Folders>'
            "<t:ContactsFolder><t:DisplayName>CRM</t:DisplayName></t:ContactsFolder></m:Folders></m:CreateFolder>"
        )
        made = self.ask(make).xml.find(f".//{T}FolderId").get("Id")
        self.ask(make, "ErrorFolderExists")
        shape = "<m:FolderShape><t:BaseShape>AllProperties</t:BaseShape></m:FolderShape>"
        look = f'<m:GetFolder>{shape}<m:FolderIds><t:FolderId Id="{made}"/></m:FolderIds></m:GetFolder>'
        self.assertEqual(self.ask(look).text("FolderClass"), "IPF.Contact")
        restriction = equals('<t:FieldURI FieldURI="folder:DisplayName"/>', "CRM")
        found = self.ask(
            f'<m:FindFolder Traversal="Shallow">{shape}<m:Restriction>{restriction}</m:Restriction>'
            '<m:ParentFolderIds><t:DistinguishedFolderId Id="contacts"/></m:ParentFolderIds></m:FindFolder>'
        )
        self.assertEqual(found.xml.find(f".//{T}FolderId").get("Id"), made)
        lease = (
            f'<m:UpdateFolder><m:FolderChanges><t:FolderChange><t:FolderId Id="{made}"/><t:Updates><t:SetFolderField>'
            f"{STAMP}<t:ContactsFolder><t:ExtendedProperty>{STAMP}<t:Value>held</t:Value></t:ExtendedProperty>"
            "</t:ContactsFolder></t:SetFolderField></t:Updates></t:FolderChange></m:FolderChanges></m:UpdateFolder>"
        )
        self.ask(lease)
        extra = f"<t:AdditionalProperties>{STAMP}</t:AdditionalProperties></m:FolderShape>"
        self.assertEqual(self.ask(look.replace("</m:FolderShape>", extra)).text("Value"), "held")
        gone = f'<m:DeleteFolder DeleteType="HardDelete"><m:FolderIds><t:FolderId Id="{made}"/></m:FolderIds></m:DeleteFolder>'
        self.ask(gone)
        self.ask(look, "ErrorFolderNotFound")
        standard = gone.replace(f'<t:FolderId Id="{made}"/>', '<t:DistinguishedFolderId Id="contacts"/>')
        self.ask(standard, "ErrorDeleteDistinguishedFolder")
        again = self.ask(make).xml.find(f".//{T}FolderId").get("Id")
        self.server.control("POST", "folders", mailbox="user1@example.test", action="delete", folder="CRM")
        self.ask(look.replace(made, again), "ErrorFolderNotFound")

    # SyncFolderItems

    def changes(self, state="", most=512):
        answer = self.ask(sync(state, most))
        listed = [
            (e.tag[len(T):], e.find(f".//{T}ItemId").get("Id")) for e in answer.xml.find(f".//{M}Changes")
        ]
        last = answer.xml.find(f".//{M}IncludesLastItemInRange").text == "true"
        return answer.xml.find(f".//{M}SyncState").text, listed, last

    def test_sync(self):
        a, b, c = self.made(ADA, ADA, ADA)
        b = self.ask(update(b, set_field("contacts:JobTitle", "JobTitle", "x"))).ids[0]
        state, listed, last = self.changes()
        self.assertTrue(last)
        self.assertEqual(sorted(listed), sorted(("Create", p[0]) for p in (a, b, c)))
        self.assertEqual(self.changes(state)[1:], ([], True))
        self.ask(delete(c))
        self.ask(update(a, set_field("contacts:JobTitle", "JobTitle", "y")))
        d = self.made(ADA)[0]
        e = self.made(ADA)[0]
        self.ask(delete(e))
        listed = self.changes(state)[1]
        self.assertEqual(sorted(listed), sorted([("Delete", c[0]), ("Update", a[0]), ("Create", d[0])]))
        self.assertEqual(sorted(self.changes(state)[1]), sorted(listed))

    def test_sync_pages_while_things_change(self):
        ids = self.made(*[ADA] * 10)
        self.ask(update(ids[0], set_field("contacts:JobTitle", "JobTitle", "early")))
        state, seen, last = self.changes(most=4)
        self.assertFalse(last)
        self.ask(update(ids[1], set_field("contacts:JobTitle", "JobTitle", "late")))
        self.ask(delete(ids[2]))
        new = self.made(ADA)[0]
        while not last:
            state, more, last = self.changes(state, 4)
            seen += more
        self.assertEqual({i for _, i in seen}, {p[0] for p in ids})
        self.assertEqual({k for k, _ in seen}, {"Create"})
        again = self.changes(state)[1]
        self.assertEqual(
            sorted(again), sorted([("Update", ids[1][0]), ("Delete", ids[2][0]), ("Create", new[0])])
        )

    def test_sync_state(self):
        self.made(ADA)
        state = self.changes()[0]
        self.assertGreater(len(state), 400)
        self.ask(sync("bm9uc2Vuc2U="), "ErrorInvalidSyncStateData")
        self.ask(sync(state[:256]), "ErrorInvalidSyncStateData")
        self.ask(sync(state, folder="tasks"), "ErrorInvalidSyncStateData")
        self.ask(sync(state, folder="conflicts"), "ErrorSyncFolderNotFound")
        self.server.control("POST", "mailbox", address="user1@example.test", invalidate_sync_states=True)
        self.ask(sync(state), "ErrorInvalidSyncStateData")
        self.assertEqual(len(self.changes()[1]), 1)

    # Appointments and tasks

    def test_appointments_say_whom_to_mail(self):
        event = "<t:CalendarItem><t:Subject>S</t:Subject><t:Start>2026-01-01T10:00:00Z</t:Start><t:End>2026-01-01T11:00:00Z</t:End></t:CalendarItem>"
        nobody = ' SendMeetingInvitations="SendToNone"'
        self.ask(create(event, folder="calendar"), "ErrorSendMeetingInvitationsRequired")
        pair = self.ask(create(event, folder="calendar", attributes=nobody)).ids[0]
        change = set_field("item:Subject", "Subject", "T", "CalendarItem")
        self.ask(update(pair, change), "ErrorSendMeetingInvitationsOrCancellationsRequired")
        pair = self.ask(update(pair, change, attributes=' SendMeetingInvitationsOrCancellations="SendToNone"')).ids[0]
        self.ask(delete(pair), "ErrorSendMeetingCancellationsRequired")
        self.ask(delete(pair, attributes=' SendMeetingCancellations="SendToNone"'))
        late = event.replace("T11:00", "T09:00")
        self.ask(create(late, folder="calendar", attributes=nobody), "ErrorCalendarEndDateIsEarlierThanStartDate")

    def test_tasks(self):
        task = "<t:Task><t:Subject>S</t:Subject><t:DueDate>2026-01-02T15:00:00Z</t:DueDate></t:Task>"
        pair = self.made(task, folder="tasks")[0]
        self.assertEqual(self.ask(get(pair)).text("DueDate"), "2026-01-02T00:00:00Z")
        pair = self.ask(update(pair, set_field("task:Status", "Status", "Completed", "Task"))).ids[0]
        answer = self.ask(get(pair))
        self.assertEqual((answer.text("PercentComplete"), answer.text("IsComplete")), ("100", "true"))
        self.assertIsNotNone(answer.text("CompleteDate"))
        self.ask(delete(pair), "ErrorAffectedTaskOccurrencesRequired")
        self.ask(delete(pair, attributes=' AffectedTaskOccurrences="AllOccurrences"'))


@unittest.skipUnless(SCHEMA, "CRMSYNC_EWS_SCHEMA is not set")
class RulesWithoutSchemaFiles(Rules):
    """The same rules hold where the schema is not at hand."""

    @classmethod
    def setUpClass(cls):
        cls.server = StandIn(schema=False)


if __name__ == "__main__":
    unittest.main()
