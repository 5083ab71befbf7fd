// Any bytes as the answer to any operation: no crash, no exception, clean text, and never more
// items than were asked for. The first byte chooses the operation, the second the HTTP status, the
// rest is the body.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "exchange/ews/protocol.h"
#include "record/text.h"

namespace {

using namespace crmsync;
using namespace crmsync::exchange;
using record::Object;

record::Layout every_contact_property() {
    record::Layout layout;
    for (const record::Property& property : record::properties()) {
        if (record::belongs_to(property, Object::contact)) {
            layout.push_back(&property);
        }
    }
    return layout;
}

const std::array<Operation, 16>& operations() {
    static const std::array<Operation, 16> all{
        FindFolder{Object::contact, ""},
        FindFolder{Object::contact, "CRM"},
        CreateFolder{Object::contact, "CRM"},
        DeleteFolder{"F"},
        ListStamps{"F", 0},
        FindStamps{"F", {"i/l/1", "i/l/2"}},
        CreateItems{Object::contact, "F", {{"i/l/1", {}}, {"i/l/2", {}}}},
        UpdateItems{Object::contact, {{{"A", "C"}, {}}, {{"B", "C"}, {}}}},
        DeleteItems{{{"A", ""}, {"B", ""}}, false},
        GetItems{Object::contact, {"A", "B"}, every_contact_property()},
        GetAttachments{{{"A", 1}, {"B", 1}}},
        CreateAttachment{{"A", "C"}, "image/png", {}},
        DeleteAttachment{{"A", 1}},
        LocateFolder{Object::contact, "F"},
        SearchDeleted{"F"},
        ListChanges{Object::contact, "F", "s"}};
    return all;
}

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

bool is_clean(const ItemReference& item) {
    return item.id.size() <= 512 && item.change_key.size() <= 512 &&
           !record::text_problem(item.id) && !record::text_problem(item.change_key);
}

void check(const Failure& failure) {
    require(!failure.code.empty() && failure.code.size() <= 100);
    require(failure.message.size() <= 1000 && !record::text_problem(failure.message));
    require(!record::text_problem(failure.correct_address));
    require(failure.retry_after.count() >= 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::array statuses{200, 200, 200, 500, 302, 400, 401, 404, 503};
    if (size < 2) {
        return 0;
    }
    const std::size_t chosen = data[0] % operations().size();
    net::Response response;
    response.status = statuses[data[1] % statuses.size()];
    response.body.assign(reinterpret_cast<const char*>(data) + 2, size - 2);
    const Answer answer = ews::read(operations()[chosen], response);
    if (answer.failure) {
        check(*answer.failure);
        require(answer.items.empty() && answer.folder_id.empty());
    } else if (chosen >= 6) {
        require(answer.items.size() == (chosen > 12 ? 0 : chosen > 10 ? 1 : 2));
    }
    require(answer.folder_id.size() <= 512);
    require(!record::text_problem(answer.state));
    for (const FolderChange& change : answer.changes) {
        require(!change.item.id.empty() && is_clean(change.item));
    }
    for (const ItemAnswer& item : answer.items) {
        if (item.failure) {
            check(*item.failure);
            continue;
        }
        // A content has none, and of an item whose attachment is written it may be left out.
        require(chosen > 10 || item.item.id.empty() == (chosen == 10));
        require((item.content != nullptr) == (chosen == 10));
        require(is_clean(item.item) && !record::text_problem(item.stamp));
        for (const record::Value& value : item.values) {
            require(!value || (!value->empty() && !record::text_problem(*value)));
        }
    }
    return 0;
}
