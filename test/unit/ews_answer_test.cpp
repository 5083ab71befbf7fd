// Answers of honest and of lying servers.
#include <gtest/gtest.h>

#include <chrono>

#include "ews_support.h"
#include "exchange/stamp.h"
#include "record/date.h"
#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

using namespace test;
using record::Object;
using record::Value;

Answer answer(const Operation& operation, const std::string& name,
              const std::vector<std::string>& parts) {
    return read(operation, soap(messages(name, parts)));
}

std::string code(const Answer& answer) {
    return answer.failure ? answer.failure->code : "(none)";
}

UpdateItems update_of(std::initializer_list<const char*> ids) {
    UpdateItems update{Object::contact, {}};
    for (const char* id : ids) {
        update.items.push_back({{id, "CK"}, {{contact("surname"), "Lee"}}});
    }
    return update;
}

TEST(CreateAnswer, BelongsToItemsByOrder) {
    const Answer mixed =
        answer(create(3), "CreateItem",
               {item_success("AAA=", "C1"), error("ErrorItemSavePropertyError", "too long"),
                item_success("BBB=", "C2")});
    EXPECT_FALSE(mixed.failure);
    ASSERT_EQ(mixed.items.size(), 3u);
    EXPECT_EQ(mixed.items[0].item.id, "AAA=");
    EXPECT_EQ(mixed.items[0].item.change_key, "C1");
    ASSERT_TRUE(mixed.items[1].failure);
    EXPECT_EQ(mixed.items[1].failure->disposition, Disposition::item_failed);
    EXPECT_EQ(mixed.items[1].failure->code, "ErrorItemSavePropertyError");
    EXPECT_EQ(mixed.items[1].failure->message, "too long");
    EXPECT_FALSE(mixed.items[1].failure->may_have_happened);
    EXPECT_EQ(mixed.items[2].item.id, "BBB=");
}

TEST(CreateAnswer, WithMoreOrFewerMessagesBelongsToNothing) {
    for (const std::size_t count : {0u, 1u, 3u}) {
        std::vector<std::string> parts;
        for (std::size_t i = 0; i < count; ++i) {
            parts.push_back(item_success("ID" + std::to_string(i)));
        }
        const Answer odd = answer(create(2), "CreateItem", parts);
        EXPECT_EQ(code(odd), "ANSWER-COUNT");
        EXPECT_EQ(odd.failure->disposition, Disposition::back_off);
        EXPECT_TRUE(odd.failure->may_have_happened);
        EXPECT_TRUE(odd.items.empty());
    }
}

TEST(CreateAnswer, NamingOneIdTwiceIsNotBelieved) {
    EXPECT_EQ(code(answer(create(2), "CreateItem", {item_success("A"), item_success("A")})),
              "ANSWER-CONFUSED");
}

TEST(CreateAnswer, WithoutUsableIdLeavesDoubt) {
    for (const std::string& id : {std::string(), std::string(513, 'A'), std::string("a&#10;b"),
                                  std::string("ä"), std::string("a b")}) {
        const Answer odd = answer(create(1), "CreateItem", {item_success(id)});
        ASSERT_EQ(odd.items.size(), 1u);
        ASSERT_TRUE(odd.items[0].failure) << id;
        EXPECT_EQ(odd.items[0].failure->code, "NO-ITEM-ID");
        EXPECT_TRUE(odd.items[0].failure->may_have_happened);
    }
    EXPECT_FALSE(
        answer(create(1), "CreateItem", {item_success(std::string(512, 'A'))}).items[0].failure);
    EXPECT_TRUE(answer(create(1), "CreateItem", {success()}).items[0].failure);
}

TEST(CreateAnswer, MissingThingCanOnlyBeTheFolder) {
    const Answer gone = answer(create(1), "CreateItem", {error("ErrorItemNotFound")});
    EXPECT_EQ(gone.items[0].failure->disposition, Disposition::folder_gone);
}

TEST(CreateAnswer, ThatStoppedInTheMiddleSaysSo) {
    const Answer stopped =
        answer(create(2), "CreateItem",
               {item_success("A"), error("ErrorBatchProcessingStopped", "stopped", "", "Warning")});
    ASSERT_EQ(stopped.items.size(), 2u);
    EXPECT_FALSE(stopped.items[0].failure);
    ASSERT_TRUE(stopped.items[1].failure);
    EXPECT_EQ(stopped.items[1].failure->disposition, Disposition::back_off);
    EXPECT_FALSE(stopped.items[1].failure->may_have_happened);
}

TEST(CreateAnswer, IsNeverASuccessWithoutNoError) {
    const std::string no_class =
        "<m:R><m:ResponseCode>ErrorSomethingNew</m:ResponseCode><m:Items><t:Contact>"
        "<t:ItemId Id=\"A\"/></t:Contact></m:Items></m:R>";
    EXPECT_EQ(answer(create(1), "CreateItem", {no_class}).items[0].failure->code,
              "ErrorSomethingNew");
    const std::string success_with_error =
        "<m:R ResponseClass=\"Success\"><m:ResponseCode>ErrorItemSave</m:ResponseCode></m:R>";
    EXPECT_TRUE(answer(create(1), "CreateItem", {success_with_error}).items[0].failure);
    EXPECT_EQ(
        answer(create(1), "CreateItem", {"<m:R ResponseClass=\"Error\"/>"}).items[0].failure->code,
        "NO-CODE");
    EXPECT_TRUE(
        answer(create(1), "CreateItem", {"<m:R ResponseClass=\"Success\"/>"}).items[0].failure);
}

// The schema has ResponseCode as optional, and elements that come of success say more than it.
TEST(CreateAnswer, IsASuccessWithoutACode) {
    const std::string created =
        "<m:R ResponseClass=\"Success\"><m:Items><t:Contact><t:ItemId Id=\"A\" ChangeKey=\"B\"/>"
        "</t:Contact></m:Items></m:R>";
    const ItemAnswer item = answer(create(1), "CreateItem", {created}).items[0];
    EXPECT_FALSE(item.failure);
    EXPECT_EQ(item.item.id, "A");
    const std::string unclear =
        "<m:R ResponseClass=\"Success\"><m:ResponseCode>?</m:ResponseCode></m:R>";
    const ItemAnswer perhaps = answer(create(1), "CreateItem", {unclear}).items[0];
    ASSERT_TRUE(perhaps.failure);
    EXPECT_TRUE(perhaps.failure->may_have_happened) << "it is looked for before it is made again";
}

TEST(UpdateAnswer, TakesNewKeysAndNewIds) {
    const Answer updated = answer(update_of({"A", "B"}), "UpdateItem",
                                  {item_success("A", "C9"), item_success("NEW", "C1")});
    EXPECT_FALSE(updated.failure);
    EXPECT_EQ(updated.items[0].item.change_key, "C9");
    EXPECT_EQ(updated.items[1].item.id, "NEW");
}

TEST(UpdateAnswer, InAnotherOrderIsNotBelieved) {
    const Answer swapped =
        answer(update_of({"A", "B"}), "UpdateItem", {item_success("B"), item_success("A")});
    EXPECT_EQ(code(swapped), "ANSWER-CONFUSED");
    EXPECT_TRUE(swapped.failure->may_have_happened);
    EXPECT_EQ(code(answer(update_of({"A", "B"}), "UpdateItem",
                          {error("ErrorItemSave"), item_success("A")})),
              "ANSWER-CONFUSED");
}

TEST(UpdateAnswer, TellsStaleFromGone) {
    const Answer mixed = answer(update_of({"A", "B"}), "UpdateItem",
                                {error("ErrorIrresolvableConflict"), error("ErrorItemNotFound")});
    EXPECT_EQ(mixed.items[0].failure->disposition, Disposition::reread);
    EXPECT_EQ(mixed.items[1].failure->disposition, Disposition::item_gone);
}

TEST(DeleteAnswer, KeepsTheIdsThatWereAsked) {
    const Answer deleted = answer(DeleteItems{{{"A", ""}, {"B", ""}}, false}, "DeleteItem",
                                  {success(), error("ErrorItemNotFound")});
    EXPECT_EQ(deleted.items[0].item.id, "A");
    EXPECT_FALSE(deleted.items[0].failure);
    EXPECT_EQ(deleted.items[1].failure->disposition, Disposition::item_gone);
}

// What was created reads back as it was, with the properties in any order.
TEST(GetAnswer, ReadsEveryPropertyBack) {
    const record::Fields full = full_contact();
    CreateItems creates = create(1);
    creates.items[0].fields = full;
    creates.attempt = 1790000000123456;
    const std::string request = render(creates, account()).body;
    const std::size_t begin = request.find("<t:Contact>") + 11;
    const std::string contact_xml = request.substr(begin, request.find("</t:Contact>") - begin);
    record::Layout layout = layout_of(full);
    std::reverse(layout.begin(), layout.end());
    const Answer got = answer(GetItems{Object::contact, {"A"}, layout}, "GetItem",
                              {success("<m:Items><t:Contact><t:ItemId Id=\"A\" ChangeKey=\"C\"/>" +
                                       contact_xml + "</t:Contact></m:Items>")});
    ASSERT_FALSE(got.failure) << got.failure->message;
    EXPECT_EQ(got.items[0].stamp, "instance/link/0");
    EXPECT_EQ(got.items[0].attempt, 1790000000123456);
    ASSERT_EQ(got.items[0].values.size(), layout.size());
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const record::Field& field = full[full.size() - 1 - i];
        if (field.property->type == record::Type::text_list) {
            EXPECT_EQ(got.items[0].values[i], Value("[\"Blue & green\",\"Küche\"]"));
        } else {
            EXPECT_EQ(got.items[0].values[i], field.value) << layout[i]->name;
        }
    }
}

exchange::ItemAnswer got_with(const char* property, const std::string& xml) {
    const Answer read = answer(
        GetItems{Object::contact, {"A"}, {contact("surname"), contact(property)}}, "GetItem",
        {success("<m:Items><t:Contact><t:ItemId Id=\"A\"/>" + xml + "</t:Contact></m:Items>")});
    return read.items.at(0);
}

Value got(const char* property, const std::string& xml) {
    return got_with(property, xml).values.at(1);
}

// There is a value, and nobody knows what it means.
bool is_unread(const char* property, const std::string& xml) {
    const exchange::ItemAnswer item = got_with(property, xml);
    return !item.values.at(1) && item.unread == std::vector<std::size_t>{1};
}

exchange::ItemAnswer got_item(const std::string& element, const std::string& xml) {
    const Answer read = answer(GetItems{Object::contact, {"A"}, {}}, "GetItem",
                               {success("<m:Items><t:" + element + "><t:ItemId Id=\"A\"/>" + xml +
                                        "</t:" + element + "></m:Items>")});
    return read.items.at(0);
}

TEST(GetAnswer, SaysHowLongAfterItWasMadeAnItemWasChanged) {
    const std::string made = "<t:DateTimeCreated>2026-01-02T12:00:00Z</t:DateTimeCreated>";
    const std::string changed = "<t:LastModifiedTime>2026-01-02T12:01:00Z</t:LastModifiedTime>";
    EXPECT_EQ(changed_after(got_item("Contact", made + changed)), std::chrono::seconds(60));
    EXPECT_FALSE(changed_after(got_item("Contact", made)));
    EXPECT_EQ(got_item("Contact", made).attempt, 0);
}

std::string attached(const std::string& inside) {
    return "<m:Attachments>" + inside + "</m:Attachments>";
}

TEST(GetAnswer, NamesThePhotos) {
    const auto file = [](const std::string& id, const std::string& photo) {
        return "<t:FileAttachment><t:AttachmentId Id=\"" + id +
               "\"/><t:Name>n</t:Name><t:Size>400</t:Size>" + photo + "</t:FileAttachment>";
    };
    const std::string yes = "<t:IsContactPhoto>true</t:IsContactPhoto>";
    const std::string item = "<m:Items><t:Contact><t:ItemId Id=\"A\" ChangeKey=\"C\"/>";
    const Answer read =
        answer(GetItems{Object::contact, {"A", "B"}, {contact("photo")}}, "GetItem",
               {success(item + "<t:Attachments>" + file("F1", "") + file("F2", yes) +
                        "<t:ItemAttachment/>" + file("", yes) + file("F3", yes) +
                        "</t:Attachments></t:Contact></m:Items>"),
                success("<m:Items><t:Contact><t:ItemId Id=\"B\"/></t:Contact></m:Items>")});
    ASSERT_EQ(read.items.size(), 2u);
    ASSERT_EQ(read.items[0].photos.size(), 2u);
    EXPECT_EQ(read.items[0].photos[0].id, "F2");
    EXPECT_EQ(read.items[0].photos[0].size, 400u);
    EXPECT_EQ(read.items[0].values[0], "unknown, 400 bytes");
    EXPECT_TRUE(read.items[1].photos.empty());
    EXPECT_FALSE(read.items[1].values[0]);
}

TEST(GetAnswer, KnowsPhotosOfServersThatDoNotSaySo) {
    const auto photos = [](const std::string& inside) {
        const ItemAnswer item =
            got_item("Contact", "<t:Attachments><t:FileAttachment><t:AttachmentId Id=\"F\"/>" +
                                    inside + "</t:FileAttachment></t:Attachments>");
        for (const exchange::Attachment& photo : item.photos) {
            EXPECT_EQ(photo.size, contact("photo")->max_length) << "it may be as large as any";
        }
        return item.photos.size();
    };
    const std::string name = "<t:Name>ContactPicture.jpg</t:Name>";
    EXPECT_EQ(photos(name), 1u);
    EXPECT_EQ(photos("<t:IsContactPhoto>1</t:IsContactPhoto>"), 1u);
    EXPECT_EQ(photos(name + "<t:IsContactPhoto>false</t:IsContactPhoto>"), 0u);
    EXPECT_EQ(photos("<t:Name>Contract.jpg</t:Name>"), 0u);
}

TEST(GetAnswer, TakesNoDirectoryNameForAnAddress) {
    const auto address = [](const std::string& value) {
        return got("email_1", "<t:EmailAddresses><t:Entry Key=\"EmailAddress1\">" + value +
                                  "</t:Entry></t:EmailAddresses>");
    };
    EXPECT_EQ(address("/o=Org/ou=Group/cn=Recipients/cn=ann"), Value());
    EXPECT_EQ(address("/O=Org/ou=Group/cn=Recipients/cn=ann"), Value());
    EXPECT_EQ(address("/o=odd@example.com"), Value("/o=odd@example.com"));
}

// As Outlook writes it when an address is picked from the address list.
std::string picked(const std::string& original, const std::string& id = "PropertyId=\"32916\"") {
    return "<t:ExtendedProperty><t:ExtendedFieldURI DistinguishedPropertySetId=\"Address\" " + id +
           " PropertyType=\"String\"/><t:Value>" + original +
           "</t:Value></t:ExtendedProperty><t:EmailAddresses><t:Entry Key=\"EmailAddress2\" "
           "RoutingType=\"EX\">/o=Org/ou=Group/cn=Recipients/cn=ann</t:Entry></t:EmailAddresses>";
}

TEST(GetAnswer, TakesTheAddressThatIsKeptBesideADirectoryName) {
    EXPECT_EQ(got("email_2", picked("ann@example.com")), Value("ann@example.com"));
    EXPECT_TRUE(got_with("email_2", picked("ann@example.com")).unread.empty());
    for (const char* no_address :
         {"", "Ann Lee", "Ann Lee (ann@example.com)", "/o=Org/ou=Group/cn=Recipients/cn=ann"}) {
        EXPECT_TRUE(is_unread("email_2", picked(no_address))) << no_address;
    }
    EXPECT_TRUE(is_unread("email_2", picked("ann@example.com", "PropertyId=\"32900\"")));
}

TEST(GetAnswer, TellsWhatCannotBeReadFromWhatIsNotThere) {
    EXPECT_TRUE(is_unread("email_1",
                          "<t:EmailAddresses><t:Entry Key=\"EmailAddress1\">/o=Org/cn=a"
                          "</t:Entry></t:EmailAddresses>"));
    EXPECT_TRUE(is_unread("birthday", "<t:Birthday>soon</t:Birthday>"));
    EXPECT_TRUE(is_unread("importance", "<t:Importance>Urgent</t:Importance>"));
    EXPECT_TRUE(
        got_with("birthday", "<t:Birthday>4501-01-01T00:00:00Z</t:Birthday>").unread.empty());
    EXPECT_TRUE(got_with("importance", "<t:Importance/>").unread.empty());
    EXPECT_TRUE(got_with("email_1", "").unread.empty());
}

TEST(AttachmentAnswer, HasTheContent) {
    const std::string file = "<t:FileAttachment><t:AttachmentId Id=\"F\"/><t:Content>";
    const Answer read = answer(
        GetAttachments{{{"F", 1}, {"G", 1}, {"H", 1}}}, "GetAttachment",
        {success(attached(file + "/9j/\n4HBpY3R1cmU=</t:Content></t:FileAttachment>")),
         error("ErrorItemNotFound"), success(attached(file + "!</t:Content></t:FileAttachment>"))});
    ASSERT_EQ(read.items.size(), 3u);
    ASSERT_FALSE(read.items[0].failure);
    EXPECT_TRUE(read.items[0].values.at(0)->starts_with("image/jpeg, 11 bytes, sha256 "));
    EXPECT_EQ(*read.items[0].content, "/9j/\n4HBpY3R1cmU=");
    EXPECT_EQ(read.items[1].failure->disposition, Disposition::item_gone);
    EXPECT_EQ(read.items[2].failure->code, "NO-CONTENT");
    EXPECT_TRUE(read.items[2].failure->damaged);
}

TEST(AttachmentAnswer, SaysHowTheItemIsCalledNow) {
    const std::string root = "RootItemId=\"A\" RootItemChangeKey=\"C2\"";
    const CreateAttachment create{{"A", "C1"}, "image/png", nullptr};
    const Answer made = answer(create, "CreateAttachment",
                               {success(attached("<t:FileAttachment><t:AttachmentId Id=\"F\" " +
                                                 root + "/></t:FileAttachment>"))});
    EXPECT_EQ(made.items.at(0).item.change_key, "C2");
    const Answer gone = answer(DeleteAttachment{{"F", 1}}, "DeleteAttachment",
                               {success("<m:RootItemId " + root + "/>")});
    EXPECT_EQ(gone.items.at(0).item.change_key, "C2");
    const Answer refused =
        answer(create, "CreateAttachment", {error("ErrorMessageSizeExceeded", "too large")});
    EXPECT_EQ(refused.items.at(0).failure->disposition, Disposition::item_failed);
    EXPECT_EQ(refused.items.at(0).failure->message, "too large");
    // The schema does not ask a server to say it.
    const Answer nameless = answer(
        create, "CreateAttachment",
        {success(attached("<t:FileAttachment><t:AttachmentId Id=\"F\"/></t:FileAttachment>"))});
    EXPECT_FALSE(nameless.items.at(0).failure);
    EXPECT_EQ(nameless.items.at(0).item.change_key, "");
    const Answer odd =
        answer(DeleteAttachment{{"F", 1}}, "DeleteAttachment",
               {success("<m:RootItemId RootItemId=\"A\" RootItemChangeKey=\"C\xFF\"/>")});
    EXPECT_FALSE(odd.items.at(0).failure);
    EXPECT_EQ(odd.items.at(0).item.change_key, "");
}

TEST(GetAnswer, KnowsWhatItsUserShowsToNobodyAndWhatIsOfAnotherKind) {
    EXPECT_FALSE(got_item("Contact", "").is_private);
    EXPECT_FALSE(got_item("Contact", "<t:Sensitivity>Personal</t:Sensitivity>").is_private);
    EXPECT_TRUE(got_item("Contact", "<t:Sensitivity>Private</t:Sensitivity>").is_private);
    EXPECT_TRUE(got_item("Contact", "<t:Sensitivity>Confidential</t:Sensitivity>").is_private);
    EXPECT_FALSE(got_item("Contact", "").is_other_kind);
    EXPECT_TRUE(got_item("DistributionList", "").is_other_kind);
}

std::string modified_at(std::optional<std::chrono::seconds> clock_ahead) {
    net::Response response = soap(
        messages("GetItem", {success("<m:Items><t:Contact><t:ItemId Id=\"A\"/>"
                                     "<t:LastModifiedTime>2026-01-02T12:00:00Z</t:LastModifiedTime>"
                                     "</t:Contact></m:Items>")}));
    response.clock_ahead = clock_ahead;
    const auto modified =
        exchange::ews::read(GetItems{Object::contact, {"A"}, {}}, response).items.at(0).modified;
    return modified ? record::timestamp_text(*modified) : "unknown";
}

TEST(GetAnswer, SaysByOurClockWhenAnItemWasChanged) {
    using namespace std::chrono_literals;
    EXPECT_EQ(modified_at({}), "2026-01-02T12:00:00Z");
    EXPECT_EQ(modified_at(1h), "2026-01-02T11:00:00Z");
    EXPECT_EQ(modified_at(-1h), "2026-01-02T13:00:00Z");
    EXPECT_EQ(modified_at(1s), "2026-01-02T12:00:00Z") << "rounding is no difference";
    EXPECT_EQ(modified_at(-1s), "2026-01-02T12:00:00Z");
    EXPECT_EQ(modified_at(24h * 10000), "2026-01-02T12:00:00Z") << "a date of no use";
    EXPECT_EQ(got_item("Contact", "").modified, std::nullopt);
}

TEST(GetAnswer, UnderstandsDatesAsOthersWriteThem) {
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-06T11:59:00Z</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-06T00:00:00Z</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-05T22:00:00Z</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-06T11:00:00.000Z</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-06T00:00:00+02:00</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-06T00:00:00+13:00</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>1970-05-06Z</t:Birthday>"), "1970-05-06");
    EXPECT_EQ(got("birthday", "<t:Birthday>4501-01-01T00:00:00Z</t:Birthday>"), Value());
    EXPECT_EQ(got("birthday", "<t:Birthday>1601-01-01T00:00:00Z</t:Birthday>"), Value());
    EXPECT_EQ(got("birthday", "<t:Birthday>4500-12-31T23:00:00Z</t:Birthday>"), Value());
    EXPECT_EQ(got("birthday", "<t:Birthday>yesterday</t:Birthday>"), Value());
    EXPECT_EQ(got("birthday", ""), Value());
}

// What Outlook writes in New Zealand, where it is the day before anywhere else.
TEST(GetAnswer, ADayIsThatOfWhereItWasWritten) {
    const auto day = [](const std::string& utc, const std::string& local) {
        return got("birthday",
                   "<t:ExtendedProperty><t:ExtendedFieldURI DistinguishedPropertySetId=\"Address\" "
                   "PropertyId=\"32990\" PropertyType=\"SystemTime\"/><t:Value>" +
                       local + "</t:Value></t:ExtendedProperty><t:Birthday>" + utc +
                       "</t:Birthday>");
    };
    const std::string local = "1980-01-15T00:00:00Z";
    EXPECT_EQ(day("1980-01-14T11:00:00Z", local), "1980-01-15") << "+13";
    EXPECT_EQ(day("1980-01-14T10:15:00Z", local), "1980-01-15") << "+13:45";
    EXPECT_EQ(day("1980-01-14T10:00:00Z", local), "1980-01-14") << "-10, changed by others";
    EXPECT_EQ(day("1980-01-14T12:00:00Z", local), "1980-01-15") << "+12";
    EXPECT_EQ(day("1980-01-15T11:00:00Z", local), "1980-01-15") << "-11";
    EXPECT_EQ(day("1980-01-14T11:59:00Z", local), "1980-01-14") << "the web knows no local day";
    EXPECT_EQ(day("1980-01-16T11:59:00Z", local), "1980-01-16");
    EXPECT_EQ(day("1980-01-10T00:00:00Z", local), "1980-01-10");
    EXPECT_EQ(day("1980-01-14T11:00:00Z", "?"), "1980-01-14");
}

TEST(GetAnswer, NormalisesPropertyNamesAndText) {
    const std::string by_guid =
        "<t:ExtendedProperty><t:ExtendedFieldURI "
        "PropertySetId=\"00062004-0000-0000-c000-000000000046\" PropertyId=\"32847\" "
        "PropertyType=\"String\"/><t:Value>v</t:Value></t:ExtendedProperty>";
    EXPECT_EQ(got("custom_1", by_guid), "v");
    const std::string tag =
        "<t:ExtendedProperty><t:ExtendedFieldURI PropertyTag=\"0x3a45\" "
        "PropertyType=\"String\"/><t:Value>Dr.</t:Value></t:ExtendedProperty>";
    EXPECT_EQ(got("title", tag), "Dr.");
    EXPECT_EQ(got("gender", tag), Value());
    EXPECT_EQ(got("notes", "<t:Body BodyType=\"Text\">a&#13;&#10;b&#13;&#10;</t:Body>"), "a\nb");
    EXPECT_EQ(got("surname", "<t:Surname><![CDATA[ A & B ]]></t:Surname>"), "A & B");
    EXPECT_EQ(got("surname", "<t:Surname/>"), Value());
}

TEST(GetAnswer, MarkupIsNoText) {
    const auto body = [](const std::string& inside) {
        const Answer read =
            answer(GetItems{Object::contact, {"A"}, {contact("notes")}}, "GetItem",
                   {success("<m:Items><t:Contact><t:ItemId Id=\"A\"/><t:Body BodyType=\"HTML\">" +
                            inside + "</t:Body></t:Contact></m:Items>")});
        return read.items.at(0);
    };
    EXPECT_EQ(body("&lt;p&gt;a&lt;/p&gt;").unread, std::vector<std::size_t>{0});
    EXPECT_FALSE(body("&lt;p&gt;a&lt;/p&gt;").values[0]);
    EXPECT_TRUE(body("").unread.empty());
}

// pugixml ends its text at &#0; and makes invalid UTF-8 of surrogates; Exchange emits both.
TEST(GetAnswer, RepairsCharacterReferences) {
    EXPECT_EQ(got("surname", "<t:Surname>a&#x0;b</t:Surname>"),
              "a\xEF\xBF\xBD"
              "b");
    EXPECT_EQ(got("surname", "<t:Surname>a&#0;b</t:Surname>"),
              "a\xEF\xBF\xBD"
              "b");
    EXPECT_EQ(got("surname", "<t:Surname>&#xD83D;&#xDE00;</t:Surname>"), "\xF0\x9F\x98\x80");
    EXPECT_EQ(got("surname", "<t:Surname>&#55357;&#56832;</t:Surname>"), "\xF0\x9F\x98\x80");
    EXPECT_EQ(got("surname", "<t:Surname>&#xD83D;x</t:Surname>"), "\xEF\xBF\xBDx");
    EXPECT_EQ(got("surname", "<t:Surname>&#xDE00;x</t:Surname>"), "\xEF\xBF\xBDx");
    EXPECT_EQ(got("surname", "<t:Surname>&#x1F;&#xFFFFFFFFFF;&#xFFFF;</t:Surname>"),
              "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    EXPECT_EQ(got("surname", "<t:Surname>&#;&#x;&#65;&#x42;&amp;#0;</t:Surname>"), "&#;&#x;AB&#0;");
    EXPECT_EQ(got("surname", "<t:Surname>a\x01\xFF</t:Surname>"), "a\xEF\xBF\xBD\xEF\xBF\xBD");
}

std::string page(const std::string& attributes, const std::string& items) {
    return success("<m:RootFolder " + attributes + "><t:Items>" + items +
                   "</t:Items></m:RootFolder>");
}

std::string stamped(const std::string& id, const std::string& stamp) {
    return "<t:Contact><t:ItemId Id=\"" + id + "\" ChangeKey=\"C\"/>" +
           (stamp.empty() ? ""
                          : "<t:ExtendedProperty><t:ExtendedFieldURI "
                            "PropertySetId=\"7C2B3E5A-9D41-4F6E-8B0A-5E1C9A7D3F42\" "
                            "PropertyName=\"crmsync\" PropertyType=\"String\"/><t:Value>" +
                                stamp + "</t:Value></t:ExtendedProperty>") +
           "</t:Contact>";
}

TEST(StampsAnswer, ListsPageByPage) {
    const Answer first = answer(
        ListStamps{"F", 0}, "FindItem",
        {page("IndexedPagingOffset=\"3\" TotalItemsInView=\"5\" IncludesLastItemInRange=\"false\"",
              stamped("A", "i/l/1") + stamped("B", "") + stamped("C", "i/l/2"))});
    ASSERT_FALSE(first.failure);
    ASSERT_EQ(first.items.size(), 2u);
    EXPECT_EQ(first.items[1].item.id, "C");
    EXPECT_EQ(first.items[1].stamp, "i/l/2");
    EXPECT_FALSE(first.complete);
    EXPECT_EQ(first.next_offset, 3);
    const Answer last =
        answer(ListStamps{"F", 3}, "FindItem", {page("IncludesLastItemInRange=\"true\"", "")});
    EXPECT_TRUE(last.complete);
    EXPECT_FALSE(last.failure);
}

std::string changes_page(const std::string& changes, const std::string& last = "true",
                         const std::string& state = "s2") {
    return success("<m:SyncState>" + state + "</m:SyncState><m:IncludesLastItemInRange>" + last +
                   "</m:IncludesLastItemInRange><m:Changes>" + changes + "</m:Changes>");
}

std::string changed(const char* kind, const std::string& id, const char* element = "Contact") {
    return "<t:" + std::string(kind) + "><t:" + element + "><t:ItemId Id=\"" + id +
           "\" ChangeKey=\"K\"/></t:" + element + "></t:" + kind + ">";
}

std::string deleted(const std::string& id) {
    return "<t:Delete><t:ItemId Id=\"" + id + "\" ChangeKey=\"K\"/></t:Delete>";
}

const ListChanges list_changes{Object::contact, "F", "s1"};

TEST(ChangesAnswer, NamesEachItemOnceAsItIsNow) {
    const Answer page =
        answer(list_changes, "SyncFolderItems",
               {changes_page(changed("Create", "A") + changed("Update", "B") + deleted("A") +
                             changed("Update", "L", "DistributionList") +
                             "<t:ReadFlagChange><t:ItemId Id=\"R\"/><t:IsRead>true</t:IsRead>"
                             "</t:ReadFlagChange>")});
    ASSERT_FALSE(page.failure);
    EXPECT_TRUE(page.complete);
    EXPECT_EQ(page.state, "s2");
    ASSERT_EQ(page.changes.size(), 2u);
    EXPECT_EQ(page.changes[0].item.id, "A");
    EXPECT_TRUE(page.changes[0].gone);
    EXPECT_EQ(page.changes[1].item.id, "B");
    EXPECT_FALSE(page.changes[1].gone);
}

TEST(ChangesAnswer, ThatMayLeaveSomethingOutIsNone) {
    const auto code_of = [](const std::string& page) {
        return code(answer(list_changes, "SyncFolderItems", {page}));
    };
    EXPECT_EQ(code_of(changes_page("", "perhaps")), "PAGE-INCOMPLETE");
    EXPECT_EQ(code_of(changes_page("", "true", " ")), "PAGE-INCOMPLETE");
    EXPECT_EQ(code_of(changes_page("", "true", "s\xFF")), "PAGE-INCOMPLETE");
    EXPECT_EQ(code_of(success("<m:Changes/>")), "PAGE-INCOMPLETE");
    EXPECT_EQ(code_of(changes_page("", "false", "s1")), "PAGE-STUCK");
    EXPECT_EQ(code_of(changes_page(changed("Create", "A") + changed("Update", ""))), "NO-ITEM-ID");
    EXPECT_EQ(code_of(changes_page(deleted("\xC3\xA4"))), "NO-ITEM-ID");
}

TEST(StampsAnswer, ThatMayBeIncompleteIsNone) {
    const ListStamps list{"F", 10};
    EXPECT_EQ(code(answer(list, "FindItem", {page("", "")})), "PAGE-INCOMPLETE");
    EXPECT_EQ(code(answer(list, "FindItem", {success()})), "PAGE-INCOMPLETE");
    for (const char* offset : {"", "10", "9", "-5", "x", "99999999999999"}) {
        EXPECT_EQ(code(answer(list, "FindItem",
                              {page("IncludesLastItemInRange=\"false\" IndexedPagingOffset=\"" +
                                        std::string(offset) + "\"",
                                    stamped("A", "i/l/1"))})),
                  "PAGE-STUCK");
    }
    EXPECT_EQ(code(answer(list, "FindItem",
                          {page("IncludesLastItemInRange=\"true\"",
                                stamped("A", "i/l/1") + stamped("", "i/l/2"))})),
              "NO-ITEM-ID");
    EXPECT_EQ(answer(list, "FindItem", {error("ErrorItemNotFound")}).failure->disposition,
              Disposition::folder_gone);
}

TEST(StampsAnswer, FindsOnlyWhatWasAsked) {
    const Answer found =
        answer(FindStamps{"F", {"i/l/a", "i/l/c"}}, "FindItem",
               {page("IncludesLastItemInRange=\"true\"",
                     stamped("1", "i/l/a") + stamped("2", "i/l/A") + stamped("3", "i/l/a"))});
    ASSERT_EQ(found.items.size(), 2u);
    EXPECT_EQ(found.items[0].item.id, "1");
    EXPECT_EQ(found.items[1].item.id, "3");
}

TEST(StampsAnswer, KnowsLongStampsByWhatExchangeLists) {
    const std::string head(255, 'k');
    const auto find = [&](std::vector<std::string> asked, const std::string& listed) {
        return answer(FindStamps{"F", std::move(asked)}, "FindItem",
                      {page("IncludesLastItemInRange=\"true\"", stamped("1", listed))})
            .items;
    };
    ASSERT_EQ(find({head + "tail", "other"}, head).size(), 1u);
    EXPECT_EQ(find({head + "tail", "other"}, head)[0].stamp, head + "tail");
    EXPECT_TRUE(find({head + "a", head + "b"}, head).empty());
    EXPECT_TRUE(find({"short/stamp"}, "short").empty());
}

TEST(FolderAnswer, IsFoundCreatedOrAbsent) {
    const std::string folder =
        "<t:ContactsFolder><t:FolderId Id=\"F1\"/>"
        "<t:DisplayName>crm</t:DisplayName></t:ContactsFolder>";
    EXPECT_EQ(answer(FindFolder{Object::contact, ""}, "GetFolder",
                     {success("<m:Folders>" + folder + "</m:Folders>")})
                  .folder_id,
              "F1");
    const std::string listed = success(
        "<m:RootFolder><t:Folders><t:Folder><t:FolderId Id=\"F0\"/>"
        "<t:DisplayName>other</t:DisplayName></t:Folder>" +
        folder + "</t:Folders></m:RootFolder>");
    EXPECT_EQ(answer(FindFolder{Object::contact, "CRM"}, "FindFolder", {listed}).folder_id, "F1");
    // The server knows more of upper and lower case than we do.
    const std::string only = success(
        "<m:RootFolder><t:Folders><t:Folder><t:FolderId Id=\"F2\"/>"
        "<t:DisplayName>über</t:DisplayName></t:Folder></t:Folders></m:RootFolder>");
    EXPECT_EQ(answer(FindFolder{Object::contact, "ÜBER"}, "FindFolder", {only}).folder_id, "F2");
    const Answer none = answer(FindFolder{Object::contact, "CRM 2"}, "FindFolder", {listed});
    EXPECT_FALSE(none.failure);
    EXPECT_EQ(none.folder_id, "");
    EXPECT_EQ(answer(CreateFolder{Object::contact, "CRM"}, "CreateFolder",
                     {success("<m:Folders>" + folder + "</m:Folders>")})
                  .folder_id,
              "F1");
    EXPECT_EQ(code(answer(CreateFolder{Object::contact, "CRM"}, "CreateFolder", {success()})),
              "NO-FOLDER-ID");
    EXPECT_EQ(
        answer(CreateFolder{Object::contact, "CRM"}, "CreateFolder", {error("ErrorFolderExists")})
            .failure->disposition,
        Disposition::folder_gone);
    EXPECT_EQ(answer(FindFolder{Object::contact, ""}, "GetFolder", {error("ErrorFolderNotFound")})
                  .failure->disposition,
              Disposition::mailbox_disabled);
    EXPECT_FALSE(answer(DeleteFolder{"F"}, "DeleteFolder", {success()}).failure);
}

TEST(FolderAnswer, SaysWhetherItsUserHasDeletedIt) {
    const auto folder = [](const std::string& id, const std::string& parent) {
        return success("<m:Folders><t:Folder><t:FolderId Id=\"" + id +
                       "\"/><t:ParentFolderId Id=\"" + parent + "\"/></t:Folder></m:Folders>");
    };
    const LocateFolder locate{Object::contact, "F"};
    const std::string bin = folder("B", "R");
    const std::string contacts = folder("C", "R");
    const std::string unseen = error("ErrorAccessDenied");
    const auto located = [&](const std::vector<std::string>& folders) {
        const Answer found = answer(locate, "GetFolder", folders);
        EXPECT_FALSE(found.failure);
        return std::string(found.deleted ? "deleted" : found.moved ? "moved" : "there");
    };
    EXPECT_EQ(located({folder("F", "B"), bin, contacts}), "deleted");
    EXPECT_EQ(located({folder("F", "C"), bin, contacts}), "there");
    EXPECT_EQ(located({folder("F", "C"), unseen, contacts}), "there");
    EXPECT_EQ(located({folder("F", "X"), bin, contacts}), "moved");
    EXPECT_EQ(located({folder("F", "C"), bin, unseen}), "moved");
    EXPECT_EQ(located({folder("F", "C"), unseen, unseen}), "there") << "for all that can be seen";
    EXPECT_EQ(located({folder("F", "R"), bin, folder("F", "R")}), "there") << "the default folder";
    EXPECT_EQ(answer(locate, "GetFolder", {error("ErrorItemNotFound"), bin, contacts})
                  .failure->disposition,
              Disposition::folder_gone);
    const auto deep = [](const std::string& message) {
        return answer(SearchDeleted{"F"}, "FindFolder", {message}).deleted;
    };
    const auto deleted = [](const std::string& id) {
        return success(
            "<m:RootFolder><t:Folders><t:Folder><t:FolderId Id=\"X\"/></t:Folder>"
            "<t:ContactsFolder><t:FolderId Id=\"" +
            id + "\"/></t:ContactsFolder></t:Folders></m:RootFolder>");
    };
    EXPECT_TRUE(deep(deleted("F")));
    EXPECT_FALSE(deep(deleted("G")));
    EXPECT_FALSE(deep(unseen));
    const Answer read =
        answer(GetItems{Object::contact, {"A", "B"}, {}, {}, "F"}, "GetItem",
               {success("<m:Items><t:Contact><t:ItemId Id=\"A\"/><t:ParentFolderId Id=\"F\"/>"
                        "</t:Contact></m:Items>"),
                success("<m:Items><t:Contact><t:ItemId Id=\"B\"/><t:ParentFolderId Id=\"G\"/>"
                        "</t:Contact></m:Items>")});
    EXPECT_EQ(read.items.at(0).failure->disposition, Disposition::item_gone);
    EXPECT_FALSE(read.items.at(1).failure);
}

TEST(Answer, OfAnotherOperationIsNotBelieved) {
    EXPECT_EQ(code(answer(create(1), "UpdateItem", {item_success("A")})), "UNEXPECTED-ANSWER");
}

TEST(Answer, WithAnyPrefixesIsUnderstood) {
    const std::string plain =
        "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Body>"
        "<CreateItemResponse "
        "xmlns=\"http://schemas.microsoft.com/exchange/services/2006/messages\">"
        "<ResponseMessages><CreateItemResponseMessage ResponseClass=\"Success\">"
        "<ResponseCode>NoError</ResponseCode><Items><q:Contact xmlns:q=\"urn:x\">"
        "<q:ItemId Id=\"A\" ChangeKey=\"C\"/></q:Contact></Items></CreateItemResponseMessage>"
        "</ResponseMessages></CreateItemResponse></Body></Envelope>";
    EXPECT_EQ(read(create(1), http(200, plain)).items.at(0).item.id, "A");
}

// Deep, wide and endless documents cost neither the stack nor much time or memory.
TEST(Answer, ThatIsHostileIsAnError) {
    const auto start = std::chrono::steady_clock::now();
    std::string deep;
    for (int i = 0; i < 500'000; ++i) {
        deep += "<a>";
    }
    EXPECT_TRUE(read(create(1), soap(deep)).failure);
    std::string closed = deep;
    for (int i = 0; i < 500'000; ++i) {
        closed += "</a>";
    }
    EXPECT_TRUE(read(create(1), soap(closed)).failure);
    std::string wide;
    for (int i = 0; i < 3'000'000; ++i) {
        wide += "<a/>";
    }
    EXPECT_EQ(code(read(create(1), soap(wide))), "BROKEN-XML");
    std::string attributes = "<a";
    for (int i = 0; i < 2'000'000; ++i) {
        attributes += " b=''";
    }
    EXPECT_EQ(code(read(create(1), soap(attributes + "/>"))), "BROKEN-XML");
    const std::string bomb =
        "<?xml version=\"1.0\"?><!DOCTYPE s [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]>"
        "<s:Envelope xmlns:s=\"x\"><s:Body>&b;</s:Body></s:Envelope>";
    EXPECT_TRUE(read(create(1), http(200, bomb)).failure);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Answer, CutAnywhereIsAnErrorThatLeavesDoubt) {
    const std::string whole =
        envelope(messages("CreateItem", {item_success("A"), item_success("B")}));
    for (std::size_t length = 0; length < whole.size() - 1; ++length) {
        const Answer cut = read(create(2), http(200, whole.substr(0, length)));
        ASSERT_TRUE(cut.failure) << length;
        EXPECT_TRUE(cut.failure->may_have_happened) << length;
        EXPECT_TRUE(cut.items.empty());
    }
}

TEST(Stamp, IsReadAsItWasWritten) {
    const Stamp stamp{"0123", "my link/50%", "a/b\x01 ü"};
    const std::string text = stamp_text(stamp);
    EXPECT_EQ(text, "0123/my%20link%2F50%25/a%2Fb%01%20ü");
    EXPECT_EQ(record::text_problem(text), std::nullopt);
    const auto read = read_stamp(text);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->instance, stamp.instance);
    EXPECT_EQ(read->link, stamp.link);
    EXPECT_EQ(read->key, stamp.key);
    for (const char* bad : {"", "a", "a/b", "a/b/c/d", "a/b/%", "a/b/%1", "a/b/%zz", "a/b/%1z"}) {
        EXPECT_FALSE(read_stamp(bad)) << bad;
    }
}

}  // namespace
}  // namespace crmsync::exchange::ews
