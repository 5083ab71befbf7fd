// Every function decides which fields are written; one Selection then adds what has to go along.
#include "record/merge.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "record/names.h"
#include "record/value.h"

namespace crmsync::record {
namespace {

void check(const Layout& layout, std::initializer_list<std::size_t> sizes) {
    for (const std::size_t size : sizes) {
        if (size != layout.size()) {
            throw std::logic_error("values and layout of a record differ in length");
        }
    }
}

bool goes_out(const Property& property, const FieldPolicy& policy) {
    return property.access != Access::inbound && policy.access != Access::inbound;
}

bool comes_in(const Property& property, const FieldPolicy& policy) {
    return property.access != Access::outbound && policy.access != Access::outbound &&
           property.compared;
}

// Which mapped fields are written, by place in the layout.
class Selection {
  public:
    Selection(const Layout& layout, const Policies& policies)
        : layout_(layout), policies_(policies), chosen_(layout.size(), false) {}

    void choose(std::size_t place) { chosen_[place] = true; }

    // Completes a selection that is not empty: fields written always, and those that depend on a
    // chosen one and have a value; else the server's own is left. Dependents have no dependents, so
    // one round is enough.
    void complete(const Values& values) {
        if (!any()) {
            return;
        }
        for (std::size_t i = 0; i < layout_.size(); ++i) {
            if (policies_[i].write == Write::all && goes_out(*layout_[i], policies_[i])) {
                chosen_[i] = true;
            }
        }
        const std::vector<bool> reasons = chosen_;
        for (std::size_t i = 0; i < layout_.size(); ++i) {
            for (std::size_t j = 0; j < layout_.size() && !chosen_[i]; ++j) {
                if (values[i] && reasons[j] && written_along_with(*layout_[i], *layout_[j]) &&
                    goes_out(*layout_[i], policies_[i])) {
                    chosen_[i] = true;
                }
            }
        }
    }

    // `before`: what the target was last told.
    Fields fields(Object object, const Values& values, const Values& before) const {
        Fields result;
        result.reserve(layout_.size() + 1);
        bool names_change = false;
        for (std::size_t i = 0; i < layout_.size(); ++i) {
            if (chosen_[i]) {
                result.push_back({layout_[i], values[i]});
                names_change = names_change || files_the_contact(*layout_[i]);
            }
        }
        if (object == Object::contact && !result.empty() &&
            (names_change || file_as_from(layout_, values) != file_as_from(layout_, before))) {
            file(result, values);
        }
        return result;
    }

  private:
    bool any() const { return std::find(chosen_.begin(), chosen_.end(), true) != chosen_.end(); }

    // A file_as that the CRM does not give is made from the names.
    void file(Fields& fields, const Values& values) const {
        static const Property* const file_as = find_property("file_as", Object::contact);
        const auto mapped = std::find(layout_.begin(), layout_.end(), file_as);
        const auto place = static_cast<std::size_t>(mapped - layout_.begin());
        if (mapped != layout_.end() && (values[place] || !goes_out(*file_as, policies_[place]))) {
            return;
        }
        const auto chosen = std::find_if(fields.begin(), fields.end(), [&](const Field& field) {
            return field.property == file_as;
        });
        Value made = file_as_from(layout_, values);
        if (chosen != fields.end()) {
            chosen->value = std::move(made);
        } else {
            fields.push_back({file_as, std::move(made)});
        }
    }

    const Layout& layout_;
    const Policies& policies_;
    std::vector<bool> chosen_;
};

bool due(const Property& property, const FieldPolicy& policy, const Value& crm,
         const Value& shadow) {
    if (!goes_out(property, policy) || same_value(property, crm, shadow)) {
        return false;
    }
    if (policy.write == Write::if_empty) {
        return same_value(property, shadow, {});
    }
    return crm || !is_unknown(shadow);  // what nobody could read is not emptied
}

enum class Side : std::uint8_t { neither, crm, target, both_alike, conflict };

// Which side moved away from the shadow.
Side moved(const Property& property, const Value& shadow, const Value& crm, const Value& target) {
    const bool crm_moved = !same_value(property, crm, shadow);
    const bool target_moved = property.compared && !same_value(property, target, shadow);
    if (travels_apart(property) && crm_moved && crm && !target) {
        return Side::crm;
    }
    if (crm_moved && target_moved) {
        return same_value(property, crm, target) ? Side::both_alike : Side::conflict;
    }
    return crm_moved ? Side::crm : target_moved ? Side::target : Side::neither;
}

bool crm_wins(const FieldPolicy& policy, const MergeContext& context, bool in, bool out) {
    if (!in || !out) {
        return out;  // a one-way field has nothing to decide
    }
    return policy.conflict == Conflict::crm_wins ||
           (policy.conflict == Conflict::newest_wins && context.crm_is_newer);
}

}  // namespace

Fields fields_to_create(Object object, const Layout& layout, const Policies& policies,
                        const Values& crm) {
    check(layout, {policies.size(), crm.size()});
    Selection selection(layout, policies);
    for (std::size_t i = 0; i < layout.size(); ++i) {
        if (crm[i] && goes_out(*layout[i], policies[i])) {
            selection.choose(i);
        }
    }
    return selection.fields(object, crm, Values(layout.size()));
}

Fields fields_to_update(Object object, const Layout& layout, const Policies& policies,
                        const Values& crm, const Values& shadow) {
    check(layout, {policies.size(), crm.size(), shadow.size()});
    Selection selection(layout, policies);
    for (std::size_t i = 0; i < layout.size(); ++i) {
        if (due(*layout[i], policies[i], crm[i], shadow[i])) {
            selection.choose(i);
        }
    }
    selection.complete(crm);
    return selection.fields(object, crm, shadow);
}

bool strays(const Layout& layout, const Policies& policies, const Values& crm,
            const Values& shadow) {
    check(layout, {policies.size(), crm.size(), shadow.size()});
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const bool only_in =
            comes_in(*layout[i], policies[i]) && !goes_out(*layout[i], policies[i]);
        if (only_in && policies[i].exact && !is_unknown(shadow[i]) &&
            !same_value(*layout[i], shadow[i], {}) && !same_value(*layout[i], crm[i], shadow[i])) {
            return true;
        }
    }
    return false;
}

void take_as_agreed(const std::vector<std::size_t>& unread, const Policies& policies,
                    const Values& agreed, Values& target) {
    for (const std::size_t place : unread) {
        const Write write = policies[place].write;
        const bool is_something =
            write == Write::unless_changed || (write == Write::if_empty && !agreed[place]);
        target[place] = is_something ? Value(cannot_be_read) : agreed[place];
    }
}

Merge merge(const MergeContext& context, const Layout& layout, const Policies& policies,
            const Values& agreed, const Values& crm, const Values& target) {
    check(layout, {policies.size(), agreed.size(), crm.size(), target.size()});
    Merge result;
    result.shadow = agreed;
    Selection selection(layout, policies);
    std::optional<std::size_t> users;  // to be written always, and what just he has changed
    bool written_by_both = false;      // the CRM's change is there already
    Values merged = crm;
    const auto stands_in = [&](std::size_t place) {
        return std::find(context.stand_ins.begin(), context.stand_ins.end(), place) !=
               context.stand_ins.end();
    };
    for (std::size_t i = 0; i < layout.size(); ++i) {
        const Property& property = *layout[i];
        const bool out = context.outbound && goes_out(property, policies[i]);
        const bool in = context.inbound && comes_in(property, policies[i]);
        // What could not be read, and does not count as a gap that was filled any more: each side
        // keeps its own until one of them changes it.
        const bool unknown = policies[i].write != Write::if_empty && is_unknown(agreed[i]);
        const Value& base = unknown ? crm[i] : agreed[i];
        const Value& held = unknown && is_unknown(target[i]) ? crm[i] : target[i];
        result.shadow[i] = base;
        const auto send = [&] {
            if (out) {
                selection.choose(i);
                result.shadow[i] = crm[i];
            }
        };
        const auto receive = [&] {
            if (in) {
                result.to_crm.push_back({&property, held});
                merged[i] = held;
                result.shadow[i] = held;
            }
        };
        if (policies[i].write == Write::if_empty && property.compared &&
            !same_value(property, held, {})) {
            // The user's value stays, and from now on the shadow says that there is one.
            result.shadow[i] = held;
            if (!same_value(property, held, base) && !is_unknown(held)) {
                receive();
            }
            continue;
        }
        if (policies[i].write == Write::if_empty && !in && crm[i] &&
            !same_value(property, base, {})) {
            continue;  // a gap that was filled once is its user's to make again
        }
        if (policies[i].write == Write::unless_changed && property.compared &&
            !same_value(property, held, base)) {
            continue;
        }
        switch (moved(property, base, crm[i], held)) {
            case Side::neither:
                break;
            case Side::both_alike:
                result.shadow[i] = crm[i];
                written_by_both |= out && !context.first;
                break;
            case Side::crm:
                if (!out && in && !same_value(property, held, {}) && !stands_in(i)) {
                    receive();  // what only comes in is as the target has it
                } else {
                    send();
                }
                break;
            case Side::target:
                if (out && !in && policies[i].write == Write::all) {
                    users = i;
                }
                receive();
                break;
            case Side::conflict: {
                const bool won = crm_wins(policies[i], context, in, out);
                result.conflicts.push_back({&property, crm[i], held, won});
                won ? send() : receive();
                break;
            }
        }
    }
    if (written_by_both && users) {
        selection.choose(*users);
    }
    selection.complete(merged);
    result.to_target = selection.fields(context.object, merged, agreed);
    for (const Field& field : result.to_target) {  // what is written along is agreed on as well
        const auto place = std::find(layout.begin(), layout.end(), field.property);
        if (place != layout.end()) {
            result.shadow[static_cast<std::size_t>(place - layout.begin())] =
                merged[static_cast<std::size_t>(place - layout.begin())];
        }
    }
    return result;
}

}  // namespace crmsync::record
