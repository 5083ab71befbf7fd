#include "sync/decision.h"

#include <algorithm>

namespace crmsync::sync {

namespace {

Verdict farewell(const Rules& rules, const Wish& wish, const KnownItem& item) {
    if (item.gone) {
        return wish.exists ? Verdict::nothing : Verdict::forget;
    }
    if (item.absent) {
        // What a user made is still his should he take it out of the deleted items.
        const bool remembered = item.origin != Origin::crm && wish.exists;
        return remembered ? Verdict::nothing : Verdict::forget;
    }
    if (item.unlinked) {
        return item.stamped ? Verdict::unlink : Verdict::nothing;
    }
    if (item.leaving && item.confirmed) {
        return Verdict::nothing;
    }
    if (wish.exists) {
        const bool unlink =
            item.origin != Origin::crm || rules.policy.on_audience_loss == OnAudienceLoss::unlink;
        return unlink ? Verdict::unlink : item.leaving ? Verdict::nothing : Verdict::leave;
    }
    if (rules.policy.on_crm_delete == OnCrmDelete::keep) {
        return Verdict::unlink;
    }
    return item.leaving ? Verdict::nothing : Verdict::leave;
}

record::Values values_before(const Rules& rules, const record::Fields& fields,
                             const record::Values& shadow) {
    record::Values before;
    before.reserve(fields.size());
    for (const record::Field& field : fields) {
        const auto at = std::find(rules.layout.begin(), rules.layout.end(), field.property);
        before.push_back(
            at == rules.layout.end()
                ? record::Value()
                : shadow[static_cast<std::size_t>(std::distance(rules.layout.begin(), at))]);
    }
    return before;
}

// What only fills gaps and is not written: the shadow keeps that there is something.
std::optional<record::Values> agreed_values(const Rules& rules, const record::Fields& fields,
                                            const record::Values& values,
                                            const record::Values& shadow) {
    std::optional<record::Values> agreed;
    for (std::size_t i = 0; i < rules.layout.size(); ++i) {
        const bool fills = rules.fields[i].write == record::Write::if_empty;
        if (!fills || !shadow[i] || shadow[i] == values[i] ||
            std::any_of(fields.begin(), fields.end(),
                        [&](const auto& field) { return field.property == rules.layout[i]; })) {
            continue;
        }
        if (!agreed) {
            agreed = values;
        }
        (*agreed)[i] = shadow[i];
    }
    return agreed;
}

}  // namespace

record::Fields absent_fields(const Rules& rules, const record::Values& values) {
    record::Fields absent;
    for (std::size_t i = 0; i < rules.layout.size(); ++i) {
        const record::Property& property = *rules.layout[i];
        const record::FieldPolicy& policy = rules.fields[i];
        const bool goes_out =
            property.access != record::Access::inbound && policy.access != record::Access::inbound;
        // What is not compared belongs to other fields; what only fills gaps removes nothing.
        if (!values[i] && goes_out && property.compared &&
            policy.write != record::Write::if_empty) {
            absent.push_back({&property, std::nullopt});
        }
    }
    return absent;
}

bool needs_stamp(const KnownItem& item) {
    return !item.stamped || item.unlinked;
}

Decision decide(const Rules& rules, const Wish& wish, const KnownItem* item) {
    Decision decision;
    if (!wish.exists || !wish.in_audience) {
        decision.verdict = item == nullptr ? Verdict::nothing : farewell(rules, wish, *item);
        return decision;
    }
    if (item == nullptr) {
        decision.verdict = rules.outbound ? Verdict::create : Verdict::nothing;
        return decision;
    }
    if (item->gone) {
        return decision;
    }
    if (item->absent) {
        const bool again =
            rules.policy.on_target_delete == OnTargetDelete::recreate && !item->removed;
        const bool changed =
            item->shadow && !record::fields_to_update(rules.object, rules.layout, rules.fields,
                                                      *wish.values, *item->shadow)
                                 .empty();
        decision.verdict =
            rules.outbound && (again || changed) ? Verdict::create : Verdict::nothing;
        return decision;
    }
    if (!item->shadow && rules.outbound) {
        decision.verdict = Verdict::update;
        decision.fields =
            record::fields_to_create(rules.object, rules.layout, rules.fields, *wish.values);
        if (item->origin == Origin::crm) {
            const record::Fields absent = absent_fields(rules, *wish.values);
            decision.fields.insert(decision.fields.end(), absent.begin(), absent.end());
        }
        return decision;
    }
    const record::Values shadow = item->shadow.value_or(record::Values(rules.layout.size()));
    decision.strays =
        !item->shadow || record::strays(rules.layout, rules.fields, *wish.values, shadow);
    decision.fields =
        record::fields_to_update(rules.object, rules.layout, rules.fields, *wish.values, shadow);
    const bool doubtful = item->doubtful && !item->renew;
    if (!decision.fields.empty() || needs_stamp(*item) || doubtful) {
        decision.verdict = Verdict::update;
        decision.before = values_before(rules, decision.fields, shadow);
        decision.agreed = agreed_values(rules, decision.fields, *wish.values, shadow);
    } else if (item->leaving && !item->renew) {
        decision.verdict = Verdict::stay;
    }
    return decision;
}

}  // namespace crmsync::sync
