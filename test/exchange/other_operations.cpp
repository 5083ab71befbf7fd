#include "other_operations.hpp"

#include <array>

namespace stand_in {

namespace {

struct Zone {
    const char *id, *name, *bias;
};

// Enough for clients that ask for the list at start; the periods are the standard times only.
constexpr std::array<Zone, 5> kZones{{
    {"UTC", "(UTC) Coordinated Universal Time", "PT0S"},
    {"GMT Standard Time", "(UTC+00:00) Dublin, Edinburgh, Lisbon, London", "PT0S"},
    {"W. Europe Standard Time", "(UTC+01:00) Amsterdam, Berlin, Bern, Rome", "-PT1H"},
    {"Eastern Standard Time", "(UTC-05:00) Eastern Time (US & Canada)", "PT5H"},
    {"Pacific Standard Time", "(UTC-08:00) Pacific Time (US & Canada)", "PT8H"},
}};

void write_zone(pugi::xml_node parent, const Zone& zone, bool full) {
    pugi::xml_node definition = parent.append_child("t:TimeZoneDefinition");
    definition.append_attribute("Id") = zone.id;
    definition.append_attribute("Name") = zone.name;
    if (!full)
        return;
    pugi::xml_node period = definition.append_child("t:Periods").append_child("t:Period");
    period.append_attribute("Bias") = zone.bias;
    period.append_attribute("Name") = "Standard";
    period.append_attribute("Id") = "std";
    auto transition = [](pugi::xml_node to, const char* kind, const char* target) {
        add_text(to.append_child("t:Transition"), "t:To", target).append_attribute("Kind") = kind;
    };
    pugi::xml_node group =
        definition.append_child("t:TransitionsGroups").append_child("t:TransitionsGroup");
    group.append_attribute("Id") = "0";
    transition(group, "Period", "std");
    transition(definition.append_child("t:Transitions"), "Group", "0");
}

}  // namespace

std::string resolve_names(Context& context, pugi::xml_node request) {
    Answer answer("ResolveNames");
    std::string wanted = lower_case(child(request, "UnresolvedEntry").child_value());
    if (wanted.starts_with("smtp:"))
        wanted.erase(0, 5);
    std::vector<std::string> found;
    for (const MailboxPtr& mailbox : context.directory.all()) {
        std::lock_guard lock(mailbox->mutex);
        if (mailbox->address.starts_with(wanted) && found.size() < 100)
            found.push_back(mailbox->address);
    }
    if (found.empty()) {
        answer.error({"ErrorNameResolutionNoResults", "No results were found."});
        return answer.text();
    }
    pugi::xml_node set = answer.success().append_child("m:ResolutionSet");
    set.append_attribute("TotalItemsInView") = static_cast<unsigned>(found.size());
    set.append_attribute("IncludesLastItemInRange") = true;
    for (const std::string& address : found) {
        pugi::xml_node mailbox = set.append_child("t:Resolution").append_child("t:Mailbox");
        add_text(mailbox, "t:Name", address.substr(0, address.find('@')));
        add_text(mailbox, "t:EmailAddress", address);
        add_text(mailbox, "t:RoutingType", "SMTP");
        add_text(mailbox, "t:MailboxType", "Mailbox");
    }
    return answer.text();
}

// Only EwsId to EwsId: clients that start with a dummy conversion want the version header.
std::string convert_id(Context& context, pugi::xml_node request) {
    Answer answer("ConvertId");
    each_of_batch(context, answer, child(request, "SourceIds"), [&](pugi::xml_node id) {
        std::string_view mailbox = id.attribute("Mailbox").value();
        if (mailbox.find('@') == std::string_view::npos)
            throw ItemError{"ErrorInvalidSmtpAddress", "The SMTP address format is invalid."};
        if (!parse_item_id(id.attribute("Id").value()))
            throw ItemError{"ErrorInvalidIdMalformed", "Id is malformed."};
        std::string_view wanted = request.attribute("DestinationFormat").value();
        if (wanted != "EwsId" || wanted != id.attribute("Format").value())
            throw ItemError{"ErrorInvalidOperation", "Only EwsId is converted here."};
        pugi::xml_node converted = answer.success().append_child("m:AlternateId");
        converted.append_attribute("xsi:type") = "t:AlternateIdType";
        converted.append_attribute("xmlns:xsi") = "http://www.w3.org/2001/XMLSchema-instance";
        for (const char* name : {"Format", "Id", "Mailbox"})
            converted.append_attribute(name) = id.attribute(name).value();
    });
    return answer.text();
}

std::string get_server_time_zones(Context&, pugi::xml_node request) {
    Answer answer("GetServerTimeZones");
    pugi::xml_node ids = child(request, "Ids");
    bool full = request.attribute("ReturnFullTimeZoneData").as_bool(true);
    pugi::xml_node list = answer.success().append_child("m:TimeZoneDefinitions");
    for (const Zone& zone : kZones) {
        bool wanted = !ids || ids.find_child([&](pugi::xml_node id) {
            return std::string_view(id.child_value()) == zone.id;
        });
        if (wanted)
            write_zone(list, zone, full);
    }
    return answer.text();
}

}  // namespace stand_in
