#include "fault_delivery.hpp"

#include "connection.hpp"
#include "soap.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <unordered_map>

namespace stand_in {

namespace {

using nlohmann::json;

enum class Stage { instead, after, item };

const std::unordered_map<std::string, Stage>& actions() {
    static const std::unordered_map<std::string, Stage> all{
        {"http", Stage::instead},
        {"redirect", Stage::instead},
        {"error_page", Stage::instead},
        {"html", Stage::instead},
        {"fault", Stage::instead},
        {"response", Stage::instead},
        {"busy", Stage::instead},
        {"busy_message", Stage::instead},
        {"inner", Stage::instead},
        {"close", Stage::instead},
        {"reset", Stage::instead},
        {"silence", Stage::instead},
        {"item", Stage::item},
        {"lost", Stage::after},
        {"late", Stage::after},
        {"half", Stage::after},
        {"huge", Stage::after},
        {"drip", Stage::after},
        {"delay", Stage::after},
        {"empty", Stage::after},
        {"invalid_xml", Stage::after},
        {"illegal_characters", Stage::after},
        {"wrong_encoding", Stage::after},
        {"nested", Stage::after},
    };
    return all;
}

MessageXml read_xml(const json& settings) {
    MessageXml xml;
    if (settings.contains("back_off_ms"))
        xml.values.emplace_back("BackOffMilliseconds",
                                std::to_string(settings["back_off_ms"].get<long>()));
    const json values = settings.value("values", json::object());
    for (const auto& [name, value] : values.items())
        xml.values.emplace_back(name, value.get<std::string>());
    return xml;
}

ItemError read_error(const json& settings, const char* code) {
    std::string given = settings.value("code", code);
    return {given, settings.value("message", given + " on command."), read_xml(settings)};
}

SoapFault read_fault(const json& settings, const char* code) {
    ItemError error = read_error(settings, code);
    return {error.code, error.text, error.xml, settings.value("status", 500)};
}

Reply fault_reply(const SoapFault& fault) {
    Reply reply;
    reply.status = fault.status;
    reply.body = fault_text(fault);
    return reply;
}

/// Every response message of the operation is this error.
Reply error_reply(const ItemError& error, const std::string& operation, pugi::xml_node request) {
    std::size_t count = 1;
    for (const char* batch :
         {"Items", "ItemChanges", "ItemIds", "ParentFolderIds", "FolderIds", "Folders"})
        if (pugi::xml_node found = child(request, batch))
            count = std::max<std::size_t>(1, count_elements(found));
    Answer answer(operation);
    for (std::size_t i = 0; i < count; ++i)
        answer.error(error);
    Reply reply;
    reply.body = answer.text();
    return reply;
}

Reply page(int status, std::string body) {
    Reply reply;
    reply.status = status;
    reply.content_type = "text/html; charset=utf-8";
    reply.body = std::move(body);
    return reply;
}

Reply http(const json& settings) {
    int status = settings.value("status", 503);
    Reply reply =
        page(status, settings.value("body", "<html><body>HTTP error " + std::to_string(status) +
                                                "</body></html>"));
    reply.content_type = settings.value("content_type", reply.content_type);
    const json headers = settings.value("headers", json::object());
    for (const auto& [name, value] : headers.items())
        reply.headers.emplace(name, value.get<std::string>());
    return reply;
}

/// Waits, but not longer than the client does.
void wait_for_client(double seconds) {
    auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end && !Connection::current().peer_closed())
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

/// Nothing is answered; the connection ends, as `with` says, after `seconds`.
void end_connection(Reply& reply, bool reset, double seconds = 0) {
    reply.deliver = [reset, seconds](Reply&, httplib::Response& response) {
        wait_for_client(seconds);
        if (reset)
            Connection::current().reset();
        else
            Connection::current().close();
        response.status = 200;
    };
}

/// Puts bytes where a client reads text: into a display name, or else the response code.
void insert(std::string& body, std::string_view bytes) {
    for (std::string_view end : {"</t:DisplayName>", "</m:ResponseCode>", "</e:ResponseCode>"})
        if (std::size_t at = body.find(end); at != std::string::npos) {
            body.insert(at, bytes);
            return;
        }
}

std::string utf16(const std::string& ascii) {
    std::string wide = "\xff\xfe";
    for (char c : ascii) {
        wide += c;
        wide += '\0';
    }
    return wide;
}

/// Begins like the answer, then goes on with `filler` up to `size` bytes.
void deliver_huge(Reply& reply, std::uint64_t size, bool chunked) {
    auto body = std::make_shared<std::string>(reply.body);
    auto filler = std::make_shared<std::string>(1 << 16, 'x');
    std::size_t cut = body->rfind("</m:");
    body->resize(cut == std::string::npos ? body->size() : cut);
    *body += "<m:MessageText>";
    size = std::max<std::uint64_t>(size, body->size());
    auto piece = [body, filler, size](std::uint64_t offset, httplib::DataSink& sink) {
        if (offset < body->size())
            return sink.write(body->data() + offset, body->size() - offset);
        return sink.write(filler->data(), std::min<std::uint64_t>(filler->size(), size - offset));
    };
    reply.deliver = [=](Reply& r, httplib::Response& response) {
        if (!chunked) {
            response.set_content_provider(
                size, r.content_type,
                [piece](std::size_t offset, std::size_t, httplib::DataSink& sink) {
                    return piece(offset, sink);
                });
            return;
        }
        response.set_chunked_content_provider(
            r.content_type, [piece, size](std::size_t offset, httplib::DataSink& sink) {
                if (offset >= size) {
                    sink.done();
                    return true;
                }
                return piece(offset, sink);
            });
    };
}

/// Sends `upto` bytes of the announced body at `rate` bytes a second (0: at once), then all is
/// well if that was all, else the connection ends.
void deliver_partly(Reply& reply, std::size_t upto, double rate, bool reset) {
    auto body = std::make_shared<std::string>(reply.body);
    reply.deliver = [=](Reply& r, httplib::Response& response) {
        response.set_content_provider(
            body->size(), r.content_type,
            [=](std::size_t offset, std::size_t, httplib::DataSink& sink) {
                Connection& connection = Connection::current();
                if (offset >= upto) {
                    connection.flush();
                    reset ? connection.reset() : connection.close();
                    return false;
                }
                std::size_t piece = upto - offset;
                if (rate > 0) {
                    constexpr double step = 0.05;
                    piece =
                        std::clamp<std::size_t>(static_cast<std::size_t>(rate * step), 1, piece);
                    std::this_thread::sleep_for(
                        std::chrono::duration<double>(static_cast<double>(piece) / rate));
                }
                bool sent = sink.write(body->data() + offset, piece);
                connection.flush();
                return sent && !connection.peer_closed();
            });
    };
}

}  // namespace

bool is_fault_action(const std::string& action) {
    return actions().contains(action);
}

std::string fault_actions() {
    std::vector<std::string> names;
    for (const auto& [name, stage] : actions())
        names.push_back(name);
    std::sort(names.begin(), names.end());
    std::string list;
    for (const std::string& name : names)
        list += (list.empty() ? "" : ", ") + name;
    return list;
}

bool carries_out(const Fault& fault) {
    return fault.settings.value("carry_out", actions().at(fault.action) != Stage::instead);
}

Reply instead(const Fault& fault, const std::string& operation, pugi::xml_node request) {
    const json& settings = fault.settings;
    const std::string& action = fault.action;
    if (action == "http")
        return http(settings);
    if (action == "redirect" || action == "error_page") {
        Reply reply = page(302, "<html><body>Object moved</body></html>");
        reply.headers.emplace("Location",
                              settings.value("location", "/owa/auth/genericerrorpage.htm"));
        return reply;
    }
    if (action == "html")
        return page(200,
                    "<!DOCTYPE html><html><head><title>Sign in</title></head>"
                    "<body>Please sign in.</body></html>");
    if (action == "fault")
        return fault_reply(read_fault(settings, "ErrorInternalServerError"));
    if (action == "busy")
        return fault_reply(read_fault(settings, "ErrorServerBusy"));
    if (action == "response")
        return error_reply(read_error(settings, "ErrorInternalServerError"), operation, request);
    if (action == "busy_message")
        return error_reply(read_error(settings, "ErrorServerBusy"), operation, request);
    if (action == "inner") {
        ItemError error = read_error(settings, "ErrorInternalServerError");
        std::string inner = settings.value("code", "ErrorServerBusy");
        error.code = "ErrorInternalServerError";
        error.text = "An internal server error occurred. The operation failed.";
        error.xml.values.insert(
            error.xml.values.begin(),
            {{"InnerErrorMessageText", inner + " on command."}, {"InnerErrorResponseCode", inner}});
        return error_reply(error, operation, request);
    }
    Reply reply = fault_reply(read_fault(settings, "ErrorInternalServerError"));
    if (action == "close" || action == "reset" || action == "lost")
        end_connection(reply, action == "reset" || settings.value("reset", false));
    else if (action == "silence")
        end_connection(reply, false, settings.value("seconds", 3600.0));
    else
        spoil(fault, reply);
    return reply;
}

void put_off(const Fault& fault) {
    if (fault.action != "late")
        return;
    if (!fault.settings.value("waits", false))
        Connection::current().hang_up();
    std::this_thread::sleep_for(
        std::chrono::duration<double>(fault.settings.value("seconds", 1.0)));
}

void spoil(const Fault& fault, Reply& reply) {
    const json& settings = fault.settings;
    const std::string& action = fault.action;
    bool reset = settings.value("reset", false);
    if (action == "lost" || action == "late" || action == "close" || action == "reset") {
        end_connection(reply, reset || action == "reset");
    } else if (action == "silence") {
        end_connection(reply, false, settings.value("seconds", 3600.0));
    } else if (action == "half") {
        deliver_partly(reply, reply.body.size() / 2, 0, reset);
    } else if (action == "drip") {
        deliver_partly(reply, reply.body.size(), settings.value("bytes_per_second", 10.0), false);
    } else if (action == "huge") {
        deliver_huge(reply, settings.value("bytes", std::uint64_t{2} << 30),
                     settings.value("chunked", false));
    } else if (action == "delay") {
        wait_for_client(settings.value("seconds", 1.0));
    } else if (action == "empty") {
        reply.body.clear();
    } else if (action == "invalid_xml") {
        std::size_t at = reply.body.rfind("</s:Body>");
        reply.body.erase(at, at == std::string::npos ? 0 : 9);
    } else if (action == "illegal_characters") {
        insert(reply.body, settings.value("raw", false) ? "\x0b\x01" : "&#x0;&#xB;&#xD83D;");
    } else if (action == "wrong_encoding") {
        if (settings.value("kind", "latin1") == "utf16")
            reply.body = utf16(reply.body);
        else
            insert(reply.body, "\xe9\xff\xc3");
    } else if (action == "nested") {
        std::string nest;
        for (long depth = settings.value("depth", 100000L); depth > 0; --depth)
            nest += "<t:a>";
        std::size_t at = reply.body.find("<m:ResponseMessages>");
        reply.body.insert(at == std::string::npos ? reply.body.size() : at, nest);
    } else if (carries_out(fault) && action != "item") {
        reply = instead(fault, "CreateItem", {});
    }
}

std::function<void(std::size_t, pugi::xml_node)> item_hook(const Fault& fault) {
    if (fault.action != "item")
        return {};
    ItemError error = read_error(fault.settings, "ErrorItemSave");
    std::string match = fault.settings.value("match", "");
    auto indexes = fault.settings.value("indexes", std::vector<std::size_t>{});
    return [=](std::size_t index, pugi::xml_node item) {
        bool hit = match.empty() && indexes.empty();
        hit |= std::find(indexes.begin(), indexes.end(), index) != indexes.end();
        hit |= !match.empty() && serialise(item).find(match) != std::string::npos;
        if (hit)
            throw error;
    };
}

}  // namespace stand_in
