// What goes over the wire, element by element.
#include <gtest/gtest.h>

#include <algorithm>
#include <pugixml.hpp>

#include "ews_support.h"

namespace crmsync::exchange::ews {
namespace {

using namespace test;
using record::Object;

// The body of a rendered request, parsed.
class Sent {
  public:
    explicit Sent(const Operation& operation, const Account& account = test::account())
        : request_(render(operation, account)) {
        EXPECT_TRUE(document_.load_string(request_.body.c_str())) << request_.body;
    }

    // The text or attribute that an XPath finds; "(none)" when it finds nothing.
    std::string at(const char* path) const {
        const pugi::xpath_node found = document_.select_node(path);
        if (found.attribute()) {
            return found.attribute().value();
        }
        return found.node() ? found.node().text().get() : "(none)";
    }
    std::size_t count(const char* path) const { return document_.select_nodes(path).size(); }

    std::string header(const std::string& name) const {
        for (const std::string& line : request_.headers) {
            if (line.starts_with(name + ": ")) {
                return line.substr(name.size() + 2);
            }
        }
        return "(none)";
    }

    // Names of the children of the first node at `path`, in order.
    std::string names(const char* path) const {
        std::string text;
        const pugi::xml_node parent = document_.select_node(path).node();
        for (pugi::xml_node child : parent) {
            text += (text.empty() ? "" : " ") + std::string(child.name()).substr(2);
        }
        return text;
    }

    const net::Request& request() const { return request_; }

  private:
    net::Request request_;
    pugi::xml_document document_;
};

UpdateItems update(record::Fields fields) {
    return {Object::contact, {{.item = {"SUQ=", "Q0s="}, .fields = std::move(fields)}}};
}

TEST(Envelope, SaysWhoAndWhichVersion) {
    const Sent sent(FindFolder{Object::contact, ""});
    EXPECT_EQ(sent.names("//s:Header"), "RequestServerVersion ExchangeImpersonation");
    EXPECT_EQ(sent.at("//t:RequestServerVersion/@Version"), "Exchange2013_SP1");
    EXPECT_EQ(sent.at("//t:ConnectingSID/t:PrimarySmtpAddress"), "ann@example.org");
    EXPECT_EQ(sent.header("X-AnchorMailbox"), "ann@example.org");
    EXPECT_EQ(sent.header("Content-Type"), "text/xml; charset=utf-8");
    EXPECT_EQ(sent.header("client-request-id").size(), 36u);
    EXPECT_EQ(sent.header("client-request-id")[14], '4');
    EXPECT_NE(sent.header("client-request-id"),
              Sent(FindFolder{Object::contact, ""}).header("client-request-id"));
}

TEST(Envelope, OfADelegateNamesTheMailboxInTheFolder) {
    Account delegate = account();
    delegate.impersonation = false;
    const Sent sent(FindFolder{Object::contact, "CRM"}, delegate);
    EXPECT_EQ(sent.count("//t:ExchangeImpersonation"), 0u);
    EXPECT_EQ(sent.at("//t:DistinguishedFolderId/t:Mailbox/t:EmailAddress"), "ann@example.org");
    EXPECT_EQ(sent.header("X-AnchorMailbox"), "ann@example.org");
}

TEST(Envelope, RefusesMailboxesThatWouldBreakAHeader) {
    for (const char* mailbox : {"", "a@b\r\nX-Evil: 1", "a b@c", "a@b\x01"}) {
        Account bad = account();
        bad.mailbox = mailbox;
        EXPECT_THROW(render(FindFolder{Object::contact, ""}, bad), std::invalid_argument);
    }
}

TEST(Folder, IsFoundByNameBelowTheDefaultOne) {
    const Sent sent(FindFolder{Object::contact, "CRM & more"});
    EXPECT_EQ(sent.at("//m:FindFolder/@Traversal"), "Shallow");
    EXPECT_EQ(sent.at("//t:IsEqualTo/t:FieldURI/@FieldURI"), "folder:DisplayName");
    EXPECT_EQ(sent.at("//t:Constant/@Value"), "CRM & more");
    EXPECT_EQ(sent.at("//m:ParentFolderIds/t:DistinguishedFolderId/@Id"), "contacts");
}

TEST(Folder, IsCreatedWithTheClassOfItsItems) {
    const Sent sent(CreateFolder{Object::contact, "CRM"});
    EXPECT_EQ(sent.at("//m:Folders/t:ContactsFolder/t:DisplayName"), "CRM");
    EXPECT_EQ(Sent(CreateFolder{Object::task, "CRM"}).count("//m:Folders/t:TasksFolder"), 1u);
}

TEST(Create, MailsNobodyAndSavesInTheFolder) {
    const Sent sent(create(2));
    EXPECT_EQ(sent.at("//m:CreateItem/@SendMeetingInvitations"), "SendToNone");
    EXPECT_EQ(sent.at("//m:CreateItem/@MessageDisposition"), "SaveOnly");
    EXPECT_EQ(sent.at("//m:SavedItemFolderId/t:FolderId/@Id"), "Zm9sZGVy");
    EXPECT_EQ(sent.count("//m:Items/t:Contact"), 2u);
    EXPECT_EQ(sent.at("//t:Contact[2]/t:ExtendedProperty/t:Value"), "instance/link/1");
    EXPECT_EQ(sent.at("//t:ExtendedFieldURI/@PropertySetId"),
              "7c2b3e5a-9d41-4f6e-8b0a-5e1c9a7d3f42");
    EXPECT_EQ(sent.at("//t:ExtendedFieldURI/@PropertyName"), "crmsync");
}

TEST(Create, SaysWhichAttemptMadeTheItem) {
    CreateItems one = create(1);
    EXPECT_EQ(Sent(one).count("//t:Contact/t:ExtendedProperty"), 1u);
    one.attempt = 1790000000123456;
    const Sent sent(one);
    EXPECT_EQ(sent.at("//t:Contact/t:ExtendedProperty[t:ExtendedFieldURI/@PropertyName="
                      "'crmsync-attempt']/t:Value"),
              "1790000000123456");
}

TEST(Create, OrdersElementsAsTheSchemaWantsThem) {
    record::Fields fields = full_contact();
    std::reverse(fields.begin(), fields.end());
    CreateItems one = create(1);
    one.items[0].fields = fields;
    const Sent sent(one);
    std::string names = sent.names("//t:Contact");
    while (names.find("ExtendedProperty ExtendedProperty") != names.npos) {
        names.erase(names.find("ExtendedProperty ExtendedProperty"), 17);
    }
    EXPECT_EQ(names,
              "Sensitivity Body Categories Importance ExtendedProperty FileAs DisplayName "
              "GivenName Initials MiddleName Nickname CompanyName EmailAddresses "
              "PhysicalAddresses PhoneNumbers AssistantName Birthday Department Generation "
              "ImAddresses JobTitle Manager OfficeLocation Profession SpouseName "
              "Surname WeddingAnniversary");
    EXPECT_EQ(sent.names("//t:PhysicalAddresses/t:Entry"),
              "Street City State CountryOrRegion PostalCode");
    EXPECT_EQ(sent.count("//t:PhysicalAddresses/t:Entry"), 3u);
    EXPECT_EQ(sent.count("//t:PhoneNumbers/t:Entry"), 13u);
    EXPECT_EQ(sent.count("//t:EmailAddresses"), 1u);
}

TEST(Create, SpellsValuesAsExchangeDoes) {
    CreateItems one = create(1);
    one.items[0].fields = record::Fields{{contact("gender"), "female"},
                                         {contact("birthday"), "1970-05-06"},
                                         {contact("importance"), "high"},
                                         {contact("notes"), "a <b>\nc"},
                                         {contact("categories"), R"(["x","y"])"},
                                         {contact("title"), "Dr."},
                                         {contact("email_1"), "a@b"},
                                         {contact("email_1_name"), "Ann \"A\" Lee"},
                                         {contact("home_address"), "1 Road"},
                                         {contact("job_title"), {}}};
    const Sent sent(one);
    EXPECT_EQ(sent.at("//t:ExtendedProperty[t:ExtendedFieldURI/@PropertyTag='0x3A4D'][t:"
                      "ExtendedFieldURI/@PropertyType='Short']/t:Value"),
              "1");
    EXPECT_EQ(sent.at("//t:Birthday"), "1970-05-06T11:59:00Z");
    EXPECT_EQ(sent.at("//t:Importance"), "High");
    EXPECT_EQ(sent.at("//t:Body[@BodyType='Text']"), "a <b>\nc");
    EXPECT_EQ(sent.at("//t:Categories/t:String[2]"), "y");
    EXPECT_EQ(sent.at("//t:ExtendedProperty[t:ExtendedFieldURI/@PropertyTag='0x3A45']/t:Value"),
              "Dr.");
    EXPECT_EQ(sent.at("//t:EmailAddresses/t:Entry[@Key='EmailAddress1']/@Name"), "Ann \"A\" Lee");
    EXPECT_EQ(sent.at("//t:ExtendedProperty[t:ExtendedFieldURI/@PropertyId='32794']/t:Value"),
              "1 Road");
    EXPECT_EQ(sent.count("//t:JobTitle"), 0u);
}

TEST(Create, CarriesOnlyTextThatXmlAllows) {
    CreateItems one = create(1);
    one.items[0].fields = record::Fields{{contact("surname"),
                                          "a\x01"
                                          "b\xFF"}};
    const Sent sent(one);
    EXPECT_EQ(sent.at("//t:Surname"),
              "a\xEF\xBF\xBD"
              "b\xEF\xBF\xBD");
}

TEST(Update, HasOneChangePerPropertyWithOnePropertyInside) {
    const Sent sent(update(full_contact()));
    EXPECT_EQ(sent.at("//m:UpdateItem/@ConflictResolution"), "NeverOverwrite");
    EXPECT_EQ(sent.at("//m:UpdateItem/@SendMeetingInvitationsOrCancellations"), "SendToNone");
    EXPECT_EQ(sent.at("//m:UpdateItem/@MessageDisposition"), "SaveOnly");
    EXPECT_EQ(sent.at("//t:ItemId/@ChangeKey"), "Q0s=");
    EXPECT_EQ(sent.count("//t:SetItemField"), full_contact().size());
    EXPECT_EQ(sent.count("//t:SetItemField[count(t:Contact)=1][count(t:Contact/*)=1]"),
              full_contact().size());
    EXPECT_EQ(sent.count("//t:Contact/*/t:Entry[count(*)>1]"), 0u);
}

TEST(Update, AddressesPartsByTheirOwnUri) {
    const Sent sent(update({{contact("home_country"), "Peru"}, {contact("pager"), "1"}}));
    const char* country =
        "//t:SetItemField[t:IndexedFieldURI/"
        "@FieldURI='contacts:PhysicalAddress:CountryOrRegion'][t:IndexedFieldURI/"
        "@FieldIndex='Home']/t:Contact/t:PhysicalAddresses/t:Entry[@Key='Home']/t:CountryOrRegion";
    EXPECT_EQ(sent.at(country), "Peru");
    EXPECT_EQ(sent.at("//t:SetItemField[t:IndexedFieldURI/@FieldIndex='Pager']//t:Entry"), "1");
}

TEST(Update, WritesWhatTheServerWouldComposeLast) {
    const Sent sent(update({{contact("home_address"), "whole"}, {contact("home_city"), "Ulm"}}));
    EXPECT_EQ(sent.count("//t:SetItemField[1]//t:City"), 1u);
    EXPECT_EQ(sent.count("//t:SetItemField[2]//t:ExtendedProperty"), 1u);
}

TEST(Update, RemovesFields) {
    const Sent sent(update({{contact("job_title"), {}},
                            {contact("title"), {}},
                            {contact("home_phone"), {}},
                            {contact("x:a"), {}}}));
    EXPECT_EQ(sent.count("//t:DeleteItemField"), 4u);
    EXPECT_EQ(sent.count("//t:SetItemField"), 0u);
    EXPECT_EQ(sent.count("//t:DeleteItemField/t:IndexedFieldURI[@FieldIndex='HomePhone']"), 1u);
    EXPECT_EQ(sent.count("//t:DeleteItemField/t:ExtendedFieldURI[@PropertyName='a']"), 1u);
}

TEST(Update, RemovesAnEmailWithAllThatBelongsToIt) {
    const Sent sent(update({{contact("email_2"), {}}, {contact("email_2_name"), {}}}));
    std::vector<std::string> ids;
    for (const char* id : {"32912", "32914", "32915", "32916", "32917"}) {
        const std::string path = "//t:DeleteItemField/t:ExtendedFieldURI[@PropertyId='" +
                                 std::string(id) + "'][@DistinguishedPropertySetId='Address']";
        EXPECT_EQ(sent.count(path.c_str()), 1u) << id;
    }
    EXPECT_EQ(sent.at("//t:ExtendedFieldURI[@PropertyId='32917']/@PropertyType"), "Binary");
    EXPECT_EQ(sent.count("//t:DeleteItemField"), 6u);
}

TEST(Update, LeavesNoOtherDayBehindThatOutlookWouldShow) {
    for (const record::Value& day : {record::Value(), record::Value("1970-05-06")}) {
        const Sent sent(update({{contact("birthday"), day}, {contact("anniversary"), day}}));
        for (const char* id : {"32990", "32991"}) {
            const std::string path =
                "//t:DeleteItemField/t:ExtendedFieldURI[@PropertyType='SystemTime'][@PropertyId='" +
                std::string(id) + "']";
            EXPECT_EQ(sent.count(path.c_str()), 1u) << id;
        }
        EXPECT_EQ(sent.count("//t:DeleteItemField"), day ? 2u : 4u);
    }
}

TEST(Update, PutsBackTheDefaultWhereNothingCanBeRemoved) {
    const Sent sent(update({{contact("importance"), {}}, {contact("gender"), {}}}));
    EXPECT_EQ(sent.at("//t:SetItemField/t:Contact/t:Importance"), "Normal");
    EXPECT_EQ(sent.at("//t:SetItemField/t:Contact/t:ExtendedProperty/t:Value"), "0");
}

TEST(Delete, GoesToDeletedItemsUnlessToldOtherwise) {
    const Sent soft(DeleteItems{{{"SUQ=", "Q0s="}}, false});
    EXPECT_EQ(soft.at("//m:DeleteItem/@DeleteType"), "MoveToDeletedItems");
    EXPECT_EQ(soft.at("//m:DeleteItem/@SendMeetingCancellations"), "SendToNone");
    EXPECT_EQ(soft.at("//m:DeleteItem/@AffectedTaskOccurrences"), "AllOccurrences");
    EXPECT_EQ(soft.count("//t:ItemId/@ChangeKey"), 0u);
    EXPECT_EQ(Sent(DeleteItems{{{"SUQ=", ""}}, true}).at("//@DeleteType"), "HardDelete");
}

TEST(Stamps, AreSearchedByOrOnlyWhenThereAreSeveral) {
    const Sent one(FindStamps{"Rg==", {"a/b/c"}});
    EXPECT_EQ(one.count("//m:Restriction/t:IsEqualTo"), 1u);
    const Sent two(FindStamps{"Rg==", {"a/b/c", "a/b/d"}});
    EXPECT_EQ(two.count("//m:Restriction/t:Or/t:IsEqualTo"), 2u);
    const Sent page(ListStamps{"Rg==", 250});
    EXPECT_EQ(page.at("//m:IndexedPageItemView/@Offset"), "250");
    EXPECT_EQ(page.count("//m:Restriction/t:Exists/t:ExtendedFieldURI"), 1u);
    EXPECT_EQ(page.count("//t:AdditionalProperties/t:ExtendedFieldURI"), 2u);
}

TEST(Changes, AreAskedForByPageAndState) {
    const Sent first(ListChanges{Object::contact, "Rg==", {}});
    EXPECT_EQ(first.at("//m:SyncFolderId/t:FolderId/@Id"), "Rg==");
    EXPECT_EQ(first.at("//m:MaxChangesReturned"), "512");
    EXPECT_EQ(first.count("//m:SyncState"), 0u);
    const Sent then(ListChanges{Object::contact, "Rg==", "H4sIAA=="});
    EXPECT_EQ(then.at("//m:SyncState"), "H4sIAA==");
}

TEST(Stamps, AreWrittenToItemsThatUsersMade) {
    UpdateItems alone = update({});
    alone.items[0].stamp = "instance/link/7";
    const Sent sent(alone);
    EXPECT_EQ(sent.count("//t:SetItemField"), 1u);
    EXPECT_EQ(sent.at("//t:SetItemField/t:ExtendedFieldURI/@PropertyName"), "crmsync");
    EXPECT_EQ(sent.at("//t:SetItemField/t:Contact/t:ExtendedProperty/t:Value"), "instance/link/7");
    UpdateItems with_others = update({{contact("company"), "Acme"}});
    with_others.items[0].stamp = "instance/link/7";
    EXPECT_EQ(Sent(with_others).count("//t:SetItemField"), 2u);
}

TEST(Stamps, AreRemovedWhateverElseChanged) {
    const Sent sent(RemoveStamps{{{"SUQ=", "Q0s="}}});
    EXPECT_EQ(sent.at("//m:UpdateItem/@ConflictResolution"), "AlwaysOverwrite");
    EXPECT_EQ(sent.at("//t:DeleteItemField[1]/t:ExtendedFieldURI/@PropertyName"), "crmsync");
    EXPECT_EQ(sent.at("//t:DeleteItemField[2]/t:ExtendedFieldURI/@PropertyName"),
              "crmsync-attempt");
}

TEST(Get, AsksForEveryPropertyOnItsOwn) {
    const Sent sent(GetItems{Object::contact, {"SUQ="}, layout_of(full_contact())});
    EXPECT_EQ(sent.at("//t:BaseShape"), "IdOnly");
    EXPECT_EQ(sent.at("//t:BodyType"), "Text");
    // And for what is always wanted, the originals of the three addresses, and the two days once
    // more.
    EXPECT_EQ(sent.count("//t:AdditionalProperties/*"), full_contact().size() + 4 + 3 + 2);
    EXPECT_EQ(sent.count("//t:ExtendedFieldURI[@PropertyId='32932']"), 1u);
    EXPECT_EQ(sent.count("//t:FieldURI[@FieldURI='item:Sensitivity']"), 1u);
    EXPECT_EQ(sent.count("//t:FieldURI[@FieldURI='contacts:PhysicalAddresses']"), 0u);
}

TEST(Photo, TravelsApart) {
    CreateItems creates = create(1);
    creates.items[0].fields =
        record::Fields{{contact("surname"), "Lee"}, {contact("photo"), "image/png, 1 bytes"}};
    EXPECT_EQ(Sent(creates).names("//t:Contact"), "ExtendedProperty Surname");
    const Sent updated(update({{contact("surname"), "Lee"}, {contact("photo"), {}}}));
    EXPECT_EQ(updated.count("//t:Updates/*"), 1u);
    const Sent read(GetItems{Object::contact, {"SUQ="}, {contact("photo")}});
    EXPECT_EQ(read.count("//t:FieldURI[@FieldURI='item:Attachments']"), 1u);
}

TEST(Photo, IsAnAttachmentAsOutlookHasIt) {
    const Sent made(CreateAttachment{
        {"SUQ=", "Q0s="}, "image/png", std::make_shared<const std::string>("QUJD")});
    EXPECT_EQ(made.at("//m:CreateAttachment/m:ParentItemId/@Id"), "SUQ=");
    EXPECT_EQ(made.names("//t:FileAttachment"), "Name ContentType IsContactPhoto Content");
    EXPECT_EQ(made.at("//t:Name"), "ContactPicture.jpg");
    EXPECT_EQ(made.at("//t:ContentType"), "image/png");
    EXPECT_EQ(made.at("//t:IsContactPhoto"), "true");
    EXPECT_EQ(made.at("//t:Content"), "QUJD");
    const Sent read(GetAttachments{{{"QQ==", 3U << 20U}, {"Qg==", 1}}});
    EXPECT_EQ(read.count("//m:GetAttachment/m:AttachmentIds/t:AttachmentId"), 2u);
    EXPECT_GT(read.request().answer_limit, (3U << 20U) * 4 / 3);
    EXPECT_LT(read.request().answer_limit, 6U << 20U);
    const Sent removed(DeleteAttachment{{"QQ==", 0}});
    EXPECT_EQ(removed.at("//m:DeleteAttachment/m:AttachmentIds/t:AttachmentId/@Id"), "QQ==");
}

TEST(Render, RefusesWhatItCannotSend) {
    const auto refused = [](const Operation& operation) {
        EXPECT_THROW(render(operation, account()), std::invalid_argument);
    };
    refused(CreateItems{Object::contact, "Rg==", {}});
    refused(UpdateItems{Object::contact, {}});
    refused(update({}));
    refused(DeleteItems{});
    refused(FindStamps{"Rg==", {}});
    refused(update({{contact("photo"), "image/png, 1 bytes"}}));
    refused(GetAttachments{});
    refused(CreateAttachment{{"SUQ=", ""}, "image/png", nullptr});
    refused(update({{contact("@mailbox"), "a@b"}}));
    refused(update({{record::find_property("subject", Object::task), "a"}}));
    CreateItems tasks = create(1);
    tasks.object = Object::task;
    tasks.items[0].fields = record::Fields{{record::find_property("subject", Object::task), "a"}};
    try {
        render(tasks, account());
        FAIL();
    } catch (const std::invalid_argument& error) {
        EXPECT_STREQ(error.what(), "task is not supported yet");
    }
}

}  // namespace
}  // namespace crmsync::exchange::ews
