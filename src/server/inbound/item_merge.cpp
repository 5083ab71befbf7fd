#include "server/inbound/item_merge.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "server/crm/child_order.h"
#include "server/crm/held_values.h"
#include "server/state/late_creates.h"

namespace crmsync {

namespace {

// Of an item that nothing was agreed on yet each side has what the other lacks; but one that we
// made, and that nobody has changed since, is as the CRM wanted it then. Whether what cannot be
// read is another value than the CRM's nobody knows: each side keeps its own.
record::Values agreed_at_first(const sync::Outcome& read, const HeldValues& held,
                               const record::Values& crm) {
    const bool is_ours = !exchange::was_adopted(read.held) && is_untouched(read, true);
    record::Values agreed = is_ours ? held.values : record::Values(crm.size());
    for (const std::size_t place : held.unread) {
        agreed[place] = crm[place];
    }
    return agreed;
}

// What still has to go out must differ from the shadow until it has.
record::Values remembered(const LinkConfiguration& link, const record::Merge& merge,
                          const record::Values& shadow, const record::Values& held) {
    record::Values remembered = merge.shadow;
    for (const record::Field& field : merge.to_target) {
        if (const auto place = record::place_of(link.rules.layout, field.property)) {
            remembered[*place] = field.property->compared ? held[*place] : shadow[*place];
        }
    }
    keep_positions(link, held, remembered);
    return remembered;
}

// What no property value says is not lost to the history. Of child rows it is not known which of
// them has it.
record::Value value_or_text(const LinkConfiguration& link, std::size_t place,
                            const record::Value& value, const OwnTexts& texts) {
    const auto text = texts.find(place);
    const bool is_told = value || text == texts.end() || link.fields_in[place].child;
    return is_told ? value : record::Value(text->second);
}

}  // namespace

MergedItem merge_item(const LinkConfiguration& link, const sync::Outcome& read,
                      const std::string& record, const record::Values& crm, const OwnTexts& texts,
                      const std::optional<record::Values>& shadow, bool crm_is_newer) {
    MergedItem merged{};
    merged.outcome = &read;
    merged.record = record;
    const KnownValues known{crm, shadow};
    HeldValues held = held_values(link, read.held.values, read.held.unread, &known);
    if (!held.problem.empty()) {
        merged.problem = std::move(held.problem);
        return merged;
    }
    const record::Layout& layout = link.rules.layout;
    const record::Values agreed = shadow ? *shadow : agreed_at_first(read, held, crm);
    record::take_as_agreed(held.unread, link.rules.fields, agreed, held.values);
    InOneOrder sides = in_one_order(link, agreed, crm, held.values);
    merged.merge = record::merge({.object = link.rules.object,
                                  .outbound = link.rules.outbound,
                                  .inbound = link.inbound,
                                  .crm_is_newer = crm_is_newer,
                                  .first = !shadow,
                                  .stand_ins = std::move(held.stand_ins)},
                                 layout, link.rules.fields, agreed, sides.crm, sides.held);
    const record::Values now = remembered(link, merged.merge, agreed, held.values);
    for (std::size_t place = 0; place < layout.size(); ++place) {
        if (!shadow || now[place] != agreed[place]) {
            merged.agreed.push_back({layout[place], now[place]});
        }
    }
    for (const record::Field& field : merged.merge.to_crm) {
        const std::size_t place = record::place_of(layout, field.property).value();
        merged.before.push_back(value_or_text(link, place, sides.crm[place], texts));
    }
    merged.differs = !merged.merge.to_target.empty() || !sides.same;
    merged.change = {record, merged.merge.to_crm,  std::move(sides.child_rows),
                     {},     std::move(sides.crm), read.held.content,
                     texts};
    return merged;
}

}  // namespace crmsync
