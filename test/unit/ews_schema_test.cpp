// Every request against Microsoft's XML schema, where CRMSYNC_EWS_SCHEMA names its envelope.xsd.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "ews_support.h"

namespace crmsync::exchange::ews {
namespace {

using namespace test;
using record::Object;

std::vector<Operation> every_operation() {
    const record::Fields full = full_contact();
    record::Fields removed = full;
    for (record::Field& field : removed) {
        field.value.reset();
    }
    CreateItems creates = create(2);
    creates.items[0].fields = full;
    std::vector<Operation> operations{
        FindFolder{Object::contact, ""},
        LocateFolder{Object::contact, "SUQ="},
        SearchDeleted{"SUQ="},
        FindFolder{Object::event, "CRM <&> \"'\x01"},
        CreateFolder{Object::contact, "CRM"},
        CreateFolder{Object::event, "CRM"},
        CreateFolder{Object::task, "CRM"},
        DeleteFolder{"Rg=="},
        ListStamps{"Rg==", 0},
        ListChanges{Object::contact, "Rg==", {}},
        ListChanges{Object::task, "Rg==", "H4sIAA=="},
        FindStamps{"Rg==", {"a/b/c"}},
        FindStamps{"Rg==", {"a/b/c", "a/b/%2F&<\"'"}},
        creates,
        UpdateItems{Object::contact, {{{"SUQ=", "Q0s="}, full}, {{"SUQy", ""}, removed}}},
        DeleteItems{{{"SUQ=", "Q0s="}, {"SUQy", ""}}, false},
        DeleteItems{{{"SUQ=", ""}}, true},
        GetItems{Object::contact, {"SUQ="}, layout_of(full)},
        GetItems{Object::contact, {"SUQ=", "SUQy"}, {}},
        GetItems{Object::contact, {"SUQ="}, {}, {}, "SUQy"},
        RemoveStamps{{{"SUQ=", "Q0s="}}},
        GetItems{Object::contact, {"SUQ="}, {contact("photo")}},
        GetAttachments{{{"QQ==", 1}, {"Qg==", 2}}},
        CreateAttachment{
            {"SUQ=", "Q0s="}, "image/jpeg", std::make_shared<const std::string>("QUJD")},
        DeleteAttachment{{"QQ==", 1}}};
    for (const record::Field& field : full) {  // and each property alone
        operations.push_back(UpdateItems{Object::contact, {{{"SUQ=", "Q0s="}, {field}}}});
        operations.push_back(
            UpdateItems{Object::contact, {{{"SUQ=", "Q0s="}, {{field.property, {}}}}}});
    }
    return operations;
}

TEST(Schema, AcceptsEveryRequest) {
    const char* schema = std::getenv("CRMSYNC_EWS_SCHEMA");
    if (schema == nullptr || access(schema, R_OK) != 0) {
        GTEST_SKIP() << "CRMSYNC_EWS_SCHEMA does not name envelope.xsd";
    }
    if (std::system("xmllint --version >/dev/null 2>&1") != 0) {
        GTEST_SKIP() << "xmllint is not installed";
    }
    char directory[] = "/tmp/crmsync-schema-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    int number = 0;
    for (const bool impersonation : {true, false}) {
        Account one = account();
        one.impersonation = impersonation;
        for (const Operation& operation : every_operation()) {
            std::ofstream(directory + ("/" + std::to_string(number++)) + ".xml")
                << render(operation, one).body;
        }
    }
    const std::string command = "xmllint --noout --nonet --schema '" + std::string(schema) + "' " +
                                directory + "/*.xml 2>" + directory + "/messages";
    EXPECT_EQ(std::system(command.c_str()), 0)
        << std::ifstream(directory + std::string("/messages")).rdbuf();
    EXPECT_EQ(std::system(("rm -r " + std::string(directory)).c_str()), 0);
}

}  // namespace
}  // namespace crmsync::exchange::ews
