#include "server_rules.hpp"

#include "date_time.hpp"
#include "errors.hpp"
#include "identifier.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>

namespace stand_in {

namespace {

bool touched(const Changes& changes, std::initializer_list<SlotId> slots) {
    return std::any_of(changes.begin(), changes.end(), [&](const Change& c) {
        return std::find(slots.begin(), slots.end(), c.slot) != slots.end();
    });
}

struct NameSlots {
    SlotId display = slot_of("contacts:DisplayName"), given = slot_of("contacts:GivenName"),
           middle = slot_of("contacts:MiddleName"), surname = slot_of("contacts:Surname"),
           suffix = slot_of("contacts:Generation"), subject = slot_of("item:Subject");
};

const NameSlots& names() {
    static const NameSlots only;
    return only;
}

void set_or_erase(PropertyBag& values, SlotId id, const std::string& value) {
    if (value.empty())
        values.erase(id);
    else
        values.set(id, value);
}

/// DisplayName and Subject follow the name parts unless the same request sets them.
void derive_names(PropertyBag& values, const Changes& changes, bool is_new) {
    const NameSlots& n = names();
    bool parts = touched(changes, {n.given, n.middle, n.surname, n.suffix});
    if (parts && !touched(changes, {n.display}))
        set_or_erase(values, n.display, full_name(values));
    if ((parts || is_new || touched(changes, {n.display})) && !touched(changes, {n.subject}))
        set_or_erase(values, n.subject, std::string(values.get(n.display).value_or("")));
}

struct AddressSlots {
    std::array<SlotId, 5> parts;
    SlotId whole;
};

const std::array<AddressSlots, 3>& addresses() {
    static const std::array<AddressSlots, 3> only = [] {
        // Business, Home, Other: PidLidWorkAddress, PidLidHomeAddress, PidLidOtherAddress.
        constexpr std::array<std::string_view, 3> whole{"0x801b", "0x801a", "0x801c"};
        std::array<AddressSlots, 3> made;
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t p = 0; p < 5; ++p)
                made[i].parts[p] =
                    slot_of("contacts:PhysicalAddress:" + std::string(address_parts()[p]),
                            address_keys()[i]);
            std::string key = std::string(kAddressSet) + "/" + std::string(whole[i]);
            made[i].whole = slot_of_extended(key, "String");
        }
        return made;
    }();
    return only;
}

/// The whole address as one text, in US order, unless the request writes it by hand.
void compose_addresses(PropertyBag& values, const Changes& changes) {
    for (const AddressSlots& address : addresses()) {
        const auto& p = address.parts;
        if (!touched(changes, {p[0], p[1], p[2], p[3], p[4]}) || touched(changes, {address.whole}))
            continue;
        auto part = [&](std::size_t i) { return std::string(values.get(p[i]).value_or("")); };
        std::string line = part(1);
        if (!part(2).empty())
            line += (line.empty() ? "" : ", ") + part(2);
        if (!part(4).empty())
            line += (line.empty() ? "" : "  ") + part(4);
        std::string whole = part(0);
        for (const std::string& next : {line, part(3)})
            if (!next.empty())
                whole += (whole.empty() ? "" : "\r\n") + next;
        set_or_erase(values, address.whole, whole);
    }
}

void check_appointment(PropertyBag& values, bool is_new) {
    static const SlotId start_slot = slot_of("calendar:Start"), end_slot = slot_of("calendar:End"),
                        uid = slot_of("calendar:UID");
    if (is_new && !values.has(start_slot))
        values.set(start_slot, format_date_time(now()));
    auto start = parse_date_time(*values.get(start_slot));
    if (is_new && !values.has(end_slot))
        values.set(end_slot, format_date_time(*start + std::chrono::minutes(30)));
    auto end = parse_date_time(*values.get(end_slot));
    if (*end < *start)
        throw ItemError{"ErrorCalendarEndDateIsEarlierThanStartDate",
                        "EndDate is earlier than StartDate"};
    if (*end - *start > std::chrono::days(5 * 366))
        throw ItemError{"ErrorCalendarDurationIsTooLong",
                        "The calendar item duration is too long."};
    if (is_new && !values.has(uid))
        values.set(uid, "040000008200E00074C5B7101A82E008" + format_guid(random_guid()));
}

/// Status, PercentComplete and CompleteDate drive each other; the one written last wins.
void derive_task(PropertyBag& values, const Changes& changes) {
    static const SlotId status = slot_of("task:Status"), percent = slot_of("task:PercentComplete"),
                        complete = slot_of("task:CompleteDate"), due = slot_of("task:DueDate"),
                        start = slot_of("task:StartDate");
    for (SlotId date : {due, start})
        if (auto value = values.get(date))  // tasks have dates, no times
            values.set(date, std::string(value->substr(0, 10)) + "T00:00:00Z");
    for (const Change& change : changes) {
        bool done = (change.slot == status && change.value == "Completed") ||
                    (change.slot == percent && change.value == "100") ||
                    (change.slot == complete && !change.remove);
        if (done) {
            values.set(status, "Completed");
            values.set(percent, "100");
            values.set(complete, format_date_time(now()));
        } else if (change.slot == status) {
            values.erase(complete);
            if (values.get(percent) == "100" || change.value == "NotStarted")
                values.set(percent, "0");
        } else if (change.slot == percent) {
            values.erase(complete);
            values.set(status, change.value == "0" || change.remove ? "NotStarted" : "InProgress");
        }
    }
}

}  // namespace

std::string full_name(const PropertyBag& values) {
    const NameSlots& n = names();
    std::string name;
    for (SlotId part : {n.given, n.middle, n.surname, n.suffix})
        if (auto value = values.get(part); value && !value->empty())
            name += (name.empty() ? "" : " ") + std::string(*value);
    return name;
}

void after_write(PropertyBag& values, const ItemClass& item_class, const Changes& changes,
                 bool is_new) {
    static const SlotId class_slot = slot_of("item:ItemClass");
    if (is_new && !values.has(class_slot))
        values.set(class_slot, item_class.item_class);
    if (item_class.element == "Contact") {
        derive_names(values, changes, is_new);
        compose_addresses(values, changes);
    } else if (item_class.element == "CalendarItem") {
        check_appointment(values, is_new);
    } else if (item_class.element == "Task") {
        derive_task(values, changes);
    }
}

}  // namespace stand_in
