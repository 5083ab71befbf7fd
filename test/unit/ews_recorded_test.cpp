// Answers recorded from real servers, where CRMSYNC_EWS_RECORDED names a directory of them. Every
// file is read as the answer to every operation: none may do more than fail.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "ews_support.h"
#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

using namespace test;
using record::Object;

std::vector<Operation> questions() {
    return {FindFolder{Object::contact, ""},
            FindFolder{Object::contact, "CRM"},
            CreateFolder{Object::contact, "CRM"},
            DeleteFolder{"F"},
            ListStamps{"F", 0},
            ListChanges{Object::contact, "F", "state"},
            FindStamps{"F", {"a/b/c"}},
            create(1),
            UpdateItems{Object::contact, {{{"A", "C"}, {{contact("surname"), "x"}}}}},
            DeleteItems{{{"A", ""}}, false},
            GetItems{Object::contact, {"A"}, layout_of(full_contact())},
            RemoveStamps{{{"A", "C"}}}};
}

void expect_clean(const Answer& answer) {
    if (answer.failure) {
        EXPECT_EQ(record::text_problem(answer.failure->message), std::nullopt);
        EXPECT_LE(answer.failure->message.size(), 1000u);
        EXPECT_FALSE(answer.failure->code.empty());
    }
    for (const ItemAnswer& item : answer.items) {
        EXPECT_TRUE(item.failure || item.item.id.size() > 0);
        for (const record::Value& value : item.values) {
            EXPECT_TRUE(!value || (!value->empty() && !record::text_problem(*value)));
        }
    }
}

TEST(Recorded, AnswersAreAllRead) {
    const char* directory = std::getenv("CRMSYNC_EWS_RECORDED");
    if (directory == nullptr || !std::filesystem::is_directory(directory)) {
        GTEST_SKIP() << "CRMSYNC_EWS_RECORDED does not name a directory";
    }
    int files = 0;
    int contacts = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
        if (entry.path().extension() != ".xml") {
            continue;
        }
        ++files;
        std::ostringstream text;
        text << std::ifstream(entry.path()).rdbuf();
        for (const Operation& question : questions()) {
            for (const int status : {200, 500}) {
                const Answer answer = read(question, http(status, text.str()));
                SCOPED_TRACE(entry.path().string());
                expect_clean(answer);
                if (std::holds_alternative<GetItems>(question) && !answer.failure &&
                    !answer.items.empty() && !answer.items[0].failure) {
                    ++contacts;
                }
            }
        }
    }
    EXPECT_GT(files, 0);
    EXPECT_GT(contacts, 0) << "no recorded GetItem answer could be read";
}

}  // namespace
}  // namespace crmsync::exchange::ews
