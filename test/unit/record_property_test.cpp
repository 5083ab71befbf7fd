// The table of properties against what the design promises of it.
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "record/property.h"
#include "record/value.h"

namespace crmsync::record {
namespace {

std::vector<std::string> words(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> list;
    for (std::string word; stream >> word;) {
        list.push_back(word);
    }
    return list;
}

TEST(Property, VocabularyOfContactsIsComplete) {
    for (const std::string& name :
         words("display_name file_as given_name middle_name surname suffix title initials nickname "
               "job_title company department office profession manager assistant spouse birthday "
               "anniversary gender notes web_page im_address photo email_1 email_2 email_3 "
               "email_1_name email_2_name email_3_name primary_phone business_phone "
               "business_phone_2 home_phone home_phone_2 mobile_phone other_phone pager car_phone "
               "assistant_phone company_phone business_fax home_fax business_street business_city "
               "business_state business_postal_code business_country business_address home_street "
               "home_city home_state home_postal_code home_country home_address other_street "
               "other_city other_state other_postal_code other_country other_address custom_1 "
               "custom_2 custom_3 custom_4 custom_5 custom_6 custom_7 custom_8 custom_9 custom_10 "
               "importance sensitivity categories @mailbox")) {
        EXPECT_NE(find_property(name, Object::contact), nullptr) << name;
    }
}

TEST(Property, VocabularyOfEventsAndTasksIsComplete) {
    for (const std::string& name :
         words("subject body start end all_day time_zone location show_as reminder_minutes "
               "recurrence exceptions uid organizer attendees is_meeting importance sensitivity "
               "categories @mailbox")) {
        EXPECT_NE(find_property(name, Object::event), nullptr) << name;
    }
    for (const std::string& name :
         words("subject body start_date due_date completed_date status percent_complete "
               "reminder_at recurrence importance sensitivity categories @mailbox")) {
        EXPECT_NE(find_property(name, Object::task), nullptr) << name;
    }
    for (const char* name : {"organizer", "attendees", "is_meeting"}) {
        EXPECT_EQ(find_property(name, Object::event)->access, Access::inbound);
    }
}

TEST(Property, RowsAreConsistent) {
    std::set<std::pair<std::string_view, int>> seen;
    std::uint16_t position = 0;
    for (const Property& property : properties()) {
        EXPECT_EQ(property.position, position++);
        EXPECT_FALSE(property.description.empty()) << property.name;
        for (const Object object : {Object::contact, Object::event, Object::task}) {
            if (belongs_to(property, object)) {
                EXPECT_TRUE(seen.emplace(property.name, static_cast<int>(object)).second)
                    << property.name;
                EXPECT_EQ(find_property(property.name, object), &property);
            }
        }
        EXPECT_EQ(property.type == Type::choice, !property.choices.empty()) << property.name;
        for (std::size_t i = 0; !choice_at(property.choices, i).empty(); ++i) {
            EXPECT_FALSE(choice_at(property.ews.choices, i).empty()) << property.name;
        }
        if (!property.absent.empty()) {
            EXPECT_TRUE(choice_position(property.choices, property.absent)) << property.name;
        }
        EXPECT_EQ(property.ews.form == EwsForm::none, ews_address(property).empty())
            << property.name;
    }
}

TEST(Property, NamedOnesAreFoundAndLast) {
    const Property* named = find_property("x:Kunde", Object::contact);
    ASSERT_NE(named, nullptr);
    EXPECT_EQ(named, find_property("x:Kunde", Object::task));
    EXPECT_EQ(named->name, "x:Kunde");
    EXPECT_EQ(named->ews.element, "Kunde");
    EXPECT_EQ(ews_address(*named), "named Kunde String");
}

TEST(Property, NamesThatMeanSomethingElseAreNoProperties) {
    for (const char* name : {"x:", "x:crmsync", "x:CRMSYNC", "x:crmsync-attempt", "x:custom_7",
                             "x: a", "x:a\x01", "nosuch", "", "subject", "email_4", "X:a"}) {
        EXPECT_EQ(find_property(name, Object::contact), nullptr) << name;
    }
    EXPECT_EQ(find_property("x:" + std::string(121, 'a'), Object::contact), nullptr);
    EXPECT_NE(find_property("x:" + std::string(120, 'a'), Object::contact), nullptr);
}

TEST(Property, AddressesReadWell) {
    EXPECT_EQ(ews_address(*find_property("given_name", Object::contact)), "contacts:GivenName");
    EXPECT_EQ(ews_address(*find_property("home_phone", Object::contact)),
              "contacts:PhoneNumber/HomePhone");
    EXPECT_EQ(ews_address(*find_property("title", Object::contact)), "0x3A45 String");
    EXPECT_EQ(ews_address(*find_property("home_address", Object::contact)),
              "Address 0x801A String");
}

TEST(Property, ObjectsHaveNames) {
    for (const Object object : {Object::contact, Object::event, Object::task}) {
        EXPECT_EQ(object_from_name(object_name(object)), object);
    }
    EXPECT_EQ(object_from_name("user"), std::nullopt);
}

}  // namespace
}  // namespace crmsync::record
