// What an item of a mailbox holds, as the CRM would say it: value maps read backwards, and
// fallbacks where a property is absent, or has what Exchange has for none and no map lists. So what
// many values of a mailbox mean to the CRM is one and the same to the merge, and none of them is
// written back.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "record/content.h"
#include "record/merge.h"
#include "server/configuration/configuration.h"

namespace crmsync {

struct HeldValues {
    record::Values values;                 // parallel to the link's layout
    std::vector<std::size_t> unread;       // places of those that nobody knows; they are absent
    std::vector<std::size_t> stand_ins{};  // places where what stands in is as agreed
    std::string problem{};                 // why they cannot come in; empty: they can
    bool is_empty = true;                  // the item has nothing of its own that comes in
};

// Of an item that is a record's already.
struct KnownValues {
    const record::Values& crm;
    const std::optional<record::Values>& agreed;  // nullopt: nothing yet
};

// unread: the places that could not be read of the item (see exchange::ItemAnswer). A fallback says
// what the CRM gets instead of nothing: of an item that is known it says no more while its user has
// changed nothing that it comes from, whatever the CRM has made of either since.
HeldValues held_values(const LinkConfiguration& link, const record::Values& read,
                       const std::vector<std::size_t>& unread, const KnownValues* known = nullptr);

// What is written where a value may only describe it.
record::Value written_value(const record::Property& property, const record::Value& value,
                            const record::Content& content);

// What the CRM's column gets for a value of held_values(); content: of the photo that it may
// describe.
record::Value crm_value(const LinkConfiguration& link, std::size_t place,
                        const record::Value& value, const record::Content& content = {});

}  // namespace crmsync
