#include "control.hpp"

#include "content.hpp"
#include "date_time.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <stdexcept>
#include <thread>

namespace stand_in {

namespace {

using httplib::Request;
using httplib::Response;
using nlohmann::json;

using Handler = std::function<json(const Request&)>;

/// Answers JSON; what is thrown becomes 400 with the reason.
httplib::Server::Handler wrap(Handler handler) {
    return [handler = std::move(handler)](const Request& request, Response& response) {
        try {
            response.set_content(handler(request).dump(), "application/json");
        } catch (const std::exception& error) {
            response.status = 400;
            response.set_content(json{{"error", error.what()}}.dump(), "application/json");
        }
    };
}

json body_of(const Request& request) {
    return request.body.empty() ? json::object() : json::parse(request.body);
}

MailboxPtr mailbox_of(Service& service, const std::string& address) {
    if (MailboxPtr found = service.directory.find(address))
        return found;
    throw std::invalid_argument("no such mailbox: " + address);
}

json list_mailboxes(Service& service) {
    json list = json::array();
    for (const MailboxPtr& mailbox : service.directory.all()) {
        std::lock_guard lock(mailbox->mutex);
        list.push_back({{"address", mailbox->address},
                        {"items", mailbox->count_items()},
                        {"used", mailbox->used},
                        {"most_in_flight", mailbox->most_in_flight.load()}});
    }
    return list;
}

json change_mailbox(Service& service, const json& wanted) {
    std::string address = wanted.at("address");
    MailboxPtr mailbox = mailbox_of(service, address);
    {
        std::lock_guard lock(mailbox->mutex);
        mailbox->quota = wanted.value("quota", mailbox->quota);
        mailbox->item_limit = wanted.value("item_limit", mailbox->item_limit);
        mailbox->deny_impersonation =
            wanted.value("deny_impersonation", mailbox->deny_impersonation);
        if (wanted.value("invalidate_sync_states", false))
            ++mailbox->epoch;
        if (wanted.value("clear_most_in_flight", false))
            mailbox->most_in_flight = 0;
    }
    if (wanted.contains("rename_to") &&
        !service.directory.rename(address, wanted["rename_to"].get<std::string>(),
                                  wanted.value("keep_old", false)))
        throw std::invalid_argument("the mailbox cannot be renamed to that address");
    return {{"done", true}};
}

json change_server(Service& service, const json& wanted) {
    Settings& settings = service.settings;
    settings.deny_impersonation =
        wanted.value("deny_impersonation", settings.deny_impersonation.load());
    settings.property_sets_as_guid =
        wanted.value("property_sets_as_guid", settings.property_sets_as_guid.load());
    settings.request_ms = wanted.value("request_ms", settings.request_ms.load());
    settings.item_ms = wanted.value("item_ms", settings.item_ms.load());
    if (wanted.contains("clock_ahead"))
        shift_clock(std::chrono::seconds(wanted["clock_ahead"].get<long>()));
    if (wanted.contains("sends_date"))
        settings.sends_date = wanted["sends_date"].get<bool>();
    if (wanted.value("revoke_tokens", false))
        service.authentication.revoke_tokens();
    if (wanted.contains("password"))
        service.authentication.set_password(wanted["password"]);
    if (wanted.contains("token_seconds"))
        service.authentication.set_token_seconds(wanted["token_seconds"]);
    if (wanted.contains("keep_bodies"))
        service.journal.keep_bodies(wanted["keep_bodies"]);
    if (wanted.contains("paused"))
        service.pause(wanted["paused"]);
    return {{"done", true}};
}

std::size_t count_stored(Service& service) {
    std::size_t stored = 0;
    for (const MailboxPtr& mailbox : service.directory.all()) {
        std::lock_guard lock(mailbox->mutex);
        stored += mailbox->count_items();
    }
    return stored;
}

json count(ConnectionServer& server, Service& service) {
    json counters = service.journal.counters();
    counters["stored_items"] = count_stored(service);
    counters["connections"] = {{"accepted", server.accepted()}, {"open", server.open()}};
    return counters;
}

// A client that asks again and again takes processor time from whatever is being measured. Counting
// takes some, too, so it is done often only when few items are missing.
json wait_for_items(Service& service, std::size_t wanted, int seconds) {
    using namespace std::chrono_literals;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    std::size_t stored = count_stored(service);
    while (stored < wanted && std::chrono::steady_clock::now() < deadline) {
        const std::chrono::microseconds missing_time(10 * (wanted - stored));
        std::this_thread::sleep_for(std::clamp(missing_time, 2000us, 200000us));
        stored = count_stored(service);
    }
    return {{"stored_items", stored}};
}

void register_mailboxes(ConnectionServer& server, Service& service) {
    server.Get("/control/mailboxes", wrap([&](const Request&) { return list_mailboxes(service); }));
    server.Post("/control/mailboxes", wrap([&](const Request& request) {
                    std::string address = body_of(request).at("address");
                    if (!service.directory.create(address))
                        throw std::invalid_argument("the mailbox is there already");
                    return json{{"done", true}};
                }));
    server.Get("/control/mailbox", wrap([&](const Request& request) {
                   return content_of(*mailbox_of(service, request.get_param_value("address")));
               }));
    server.Post("/control/mailbox", wrap([&](const Request& request) {
                    return change_mailbox(service, body_of(request));
                }));
    server.Delete("/control/mailbox", wrap([&](const Request& request) {
                      if (!service.directory.remove(request.get_param_value("address")))
                          throw std::invalid_argument("no such mailbox");
                      return json{{"done", true}};
                  }));
    server.Post("/control/items", wrap([&](const Request& request) {
                    json action = body_of(request);
                    return act_as_user(*mailbox_of(service, action.at("mailbox")), action);
                }));
    server.Post("/control/folders", wrap([&](const Request& request) {
                    json action = body_of(request);
                    return act_on_folder(*mailbox_of(service, action.at("mailbox")), action);
                }));
}

void register_faults(ConnectionServer& server, Service& service) {
    server.Get("/control/faults", wrap([&](const Request&) { return service.faults.list(); }));
    server.Post("/control/faults", wrap([&](const Request& request) {
                    return json{{"id", service.faults.add(body_of(request))}};
                }));
    server.Delete("/control/faults", wrap([&](const Request&) {
                      service.faults.clear();
                      return json{{"done", true}};
                  }));
}

}  // namespace

void register_control(ConnectionServer& server, Service& service) {
    register_mailboxes(server, service);
    register_faults(server, service);
    server.Get("/control/counters", wrap([&](const Request&) { return count(server, service); }));
    server.Get("/control/stored", wrap([&](const Request& request) {
                   return wait_for_items(service, std::stoull(request.get_param_value("items")),
                                         std::stoi(request.get_param_value("seconds")));
               }));
    server.Get("/control/journal", wrap([&](const Request& request) {
                   std::string since = request.get_param_value("since");
                   return service.journal.entries(since.empty() ? 0 : std::stoull(since));
               }));
    server.Delete("/control/journal", wrap([&](const Request&) {
                      service.journal.clear();
                      return json{{"done", true}};
                  }));
    server.Post("/control/server", wrap([&](const Request& request) {
                    return change_server(service, body_of(request));
                }));
    server.Post("/control/reset", wrap([&](const Request&) {
                    service.reset();
                    return json{{"done", true}};
                }));
}

}  // namespace stand_in
