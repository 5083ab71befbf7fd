#include "server/crm/held_values.h"

#include <algorithm>

#include "record/value.h"
#include "server/configuration/desired_record.h"

namespace crmsync {

namespace {

// The first CRM value whose property values hold this one, in the map's own order.
const std::string* mapped_back(const InboundField& field, const std::string& value) {
    const auto found = field.crm_values->find(value);
    return found == field.crm_values->end() ? nullptr : &found->second;
}

bool is_listed(const InboundField& field, const std::string& value) {
    return !field.crm_values || mapped_back(field, value) != nullptr;
}

bool is_usable(const InboundField& field, const record::Value& value) {
    return value && is_listed(field, *value);
}

bool is_none(const LinkConfiguration& link, std::size_t place, const record::Values& held) {
    return record::same_value(*link.rules.layout[place], held[place], {});
}

// What Exchange has for none means no more than none, unless the map says so.
record::Values without_nones(const LinkConfiguration& link, record::Values held) {
    for (std::size_t i = 0; i < link.fields_in.size(); ++i) {
        if (held[i] && is_none(link, i, held) && !is_listed(link.fields_in[i], *held[i])) {
            held[i].reset();
        }
    }
    return held;
}

bool contains(const std::vector<std::size_t>& places, std::size_t place) {
    return std::find(places.begin(), places.end(), place) != places.end();
}

// What stands in for a value is not known either where that could not be read.
bool is_unknown(const InboundField& field, std::size_t place, const record::Values& held,
                const std::vector<std::size_t>& unread) {
    return contains(unread, place) ||
           (!is_usable(field, held[place]) && field.fallback && contains(unread, *field.fallback));
}

// The value, or what stands in for it.
record::Value with_fallback(const LinkConfiguration& link, std::size_t place,
                            const record::Values& held, const KnownValues* known) {
    const InboundField& field = link.fields_in[place];
    const record::Value& value = held[place];
    if (is_usable(field, value)) {
        return value;
    }
    if (!value && known != nullptr && !known->agreed && known->crm[place]) {
        return {};
    }
    if (field.fallback && held[*field.fallback]) {
        const std::size_t other = *field.fallback;
        const bool as_agreed =
            known != nullptr && known->agreed && !record::is_unknown((*known->agreed)[place]) &&
            record::same_value(*link.rules.layout[other], held[other], (*known->agreed)[other]);
        return as_agreed ? (*known->agreed)[place] : held[other];
    }
    return field.constant ? field.constant : value;
}

}  // namespace

HeldValues held_values(const LinkConfiguration& link, const record::Values& read,
                       const std::vector<std::size_t>& unread, const KnownValues* known) {
    const record::Values held = without_nones(link, read);
    HeldValues result{.values = held, .unread = unread};
    for (std::size_t i = 0; i < link.fields_in.size(); ++i) {
        const InboundField& field = link.fields_in[i];
        if (field.column.empty()) {
            continue;
        }
        result.is_empty &=
            is_none(link, i, held) && (!field.fallback || is_none(link, *field.fallback, held));
        if (is_unknown(field, i, held, unread)) {
            result.values[i].reset();
            if (!contains(unread, i)) {
                result.unread.push_back(i);
            }
            continue;
        }
        record::Value value = with_fallback(link, i, held, known);
        std::string problem;
        if (value && record::travels_apart(*link.rules.layout[i])) {
            problem = record::canonical(*link.rules.layout[i], *value).problem;
        }
        if (value && field.crm_values) {
            const std::string* crm = mapped_back(field, *value);
            if (crm == nullptr) {
                problem = "the value of property \"" + std::string(link.rules.layout[i]->name) +
                          "\" is not in its value_map";
            }
            value = crm != nullptr ? property_value(link, i, *crm).value : record::Value();
        }
        if (known != nullptr && known->agreed && !is_usable(field, held[i]) &&
            record::same_value(*link.rules.layout[i], value, (*known->agreed)[i])) {
            result.stand_ins.push_back(i);
        }
        result.values[i] = std::move(value);
        if (result.problem.empty()) {
            result.problem = std::move(problem);
        }
    }
    return result;
}

record::Value written_value(const record::Property& property, const record::Value& value,
                            const record::Content& content) {
    return value && content && record::travels_apart(property) ? record::Value(*content) : value;
}

record::Value crm_value(const LinkConfiguration& link, std::size_t place,
                        const record::Value& value, const record::Content& content) {
    const InboundField& field = link.fields_in[place];
    record::Value written = written_value(*link.rules.layout[place], value, content);
    if (!written || !field.crm_values) {
        return written;
    }
    const std::string* crm = mapped_back(field, *written);
    return crm == nullptr ? written : record::Value(*crm);  // that is the CRM's own text
}

}  // namespace crmsync
