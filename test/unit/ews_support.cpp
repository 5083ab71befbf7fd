#include "ews_support.h"

#include <gtest/gtest.h>

#include "exchange/ews/field_uri.h"

namespace crmsync::test {

using record::Object;
using record::Type;

const record::Property* contact(std::string_view name) {
    const record::Property* property = record::find_property(name, Object::contact);
    if (property == nullptr) {
        ADD_FAILURE() << "no property " << name;
        std::abort();
    }
    return property;
}

namespace {

std::string sample(const record::Property& property) {
    switch (property.type) {
        case Type::date:
            return "2000-02-29";
        case Type::choice:
            return std::string(property.choices.substr(property.choices.rfind(',') + 1));
        case Type::text_list:
            return R"(["Blue & green","K\u00fcche"])";
        case Type::email:
            return std::string(property.name) + "@example.org";
        default:
            return property.name == "web_page" ? "www.example.org, and http://[a b?c=d&e"
                                               : "<" + std::string(property.name) + "> \"ü\" &\n2";
    }
}

}  // namespace

record::Fields full_contact() {
    record::Fields fields;
    for (const record::Property& property : record::properties()) {
        if (record::belongs_to(property, Object::contact) && exchange::ews::carried(property) &&
            property.access != record::Access::inbound && !record::travels_apart(property)) {
            fields.push_back({&property, sample(property)});
        }
    }
    fields.push_back({contact("x:Kundennummer"), "4711"});
    return fields;
}

record::Layout layout_of(const record::Fields& fields) {
    record::Layout layout;
    for (const record::Field& field : fields) {
        layout.push_back(field.property);
    }
    return layout;
}

exchange::Account account() {
    exchange::Account account;
    account.mailbox = "ann@example.org";
    return account;
}

std::string envelope(const std::string& body) {
    return R"(<?xml version="1.0" encoding="utf-8"?>)"
           R"(<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>)" +
           body + "</s:Body></s:Envelope>";
}

net::Response http(int status, std::string body, std::string content_type) {
    net::Response response;
    response.status = status;
    response.body = std::move(body);
    response.content_type = std::move(content_type);
    response.request_was_sent = true;
    return response;
}

net::Response soap(const std::string& body, int status) {
    return http(status, envelope(body));
}

std::string messages(const std::string& operation, const std::vector<std::string>& messages) {
    std::string text = "<m:" + operation +
                       "Response"
                       " xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\""
                       " xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\">"
                       "<m:ResponseMessages>";
    for (const std::string& message : messages) {
        text += message;
    }
    return text + "</m:ResponseMessages></m:" + operation + "Response>";
}

std::string success(const std::string& inside) {
    return "<m:ResponseMessage ResponseClass=\"Success\"><m:ResponseCode>NoError</m:ResponseCode>" +
           inside + "</m:ResponseMessage>";
}

std::string item_success(const std::string& id, const std::string& change_key) {
    return success("<m:Items><t:Contact><t:ItemId Id=\"" + id + "\" ChangeKey=\"" + change_key +
                   "\"/></t:Contact></m:Items>");
}

std::string error(const std::string& code, const std::string& text, const std::string& message_xml,
                  const std::string& response_class) {
    return "<m:ResponseMessage ResponseClass=\"" + response_class + "\"><m:MessageText>" + text +
           "</m:MessageText><m:ResponseCode>" + code +
           "</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>" +
           (message_xml.empty() ? "" : "<m:MessageXml>" + message_xml + "</m:MessageXml>") +
           "<m:Items/></m:ResponseMessage>";
}

std::string fault(const std::string& code, const std::string& text, const std::string& more) {
    return "<s:Fault><faultcode xmlns:a=\"urn:a\">a:" + code + "</faultcode><faultstring>" + text +
           "</faultstring><detail>"
           "<e:ResponseCode "
           "xmlns:e=\"http://schemas.microsoft.com/exchange/services/2006/errors\">\n " +
           code + "\n</e:ResponseCode><e:Message xmlns:e=\"urn:e\">" + text + "</e:Message>" +
           more + "</detail></s:Fault>";
}

exchange::CreateItems create(std::size_t count) {
    exchange::CreateItems create{.object = Object::contact, .folder_id = "Zm9sZGVy", .items = {}};
    for (std::size_t i = 0; i < count; ++i) {
        create.items.push_back({.stamp = "instance/link/" + std::to_string(i),
                                .fields = record::Fields{{contact("given_name"), "Ann"}}});
    }
    return create;
}

}  // namespace crmsync::test
