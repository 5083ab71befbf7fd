#include "soap.hpp"

#include <sstream>

namespace stand_in {

namespace {

struct StringWriter : pugi::xml_writer {
    std::string text;
    void write(const void* data, std::size_t size) override {
        text.append(static_cast<const char*>(data), size);
    }
};

/// Envelope with the version header; returns the body.
pugi::xml_node begin_envelope(pugi::xml_document& document) {
    pugi::xml_node envelope = document.append_child("s:Envelope");
    envelope.append_attribute("xmlns:s") = "http://schemas.xmlsoap.org/soap/envelope/";
    pugi::xml_node version = envelope.append_child("s:Header").append_child("h:ServerVersionInfo");
    version.append_attribute("MajorVersion") = "15";
    version.append_attribute("MinorVersion") = "2";
    version.append_attribute("MajorBuildNumber") = "1748";
    version.append_attribute("MinorBuildNumber") = "10";
    version.append_attribute("Version") = "V2017_07_11";
    version.append_attribute("xmlns:h") = std::string(kTypes).c_str();
    return envelope.append_child("s:Body");
}

/// A raw carriage return would reach nobody: XML readers turn CRLF into LF.
void escape_returns(std::string& text) {
    for (std::size_t at = text.find('\r'); at != std::string::npos; at = text.find('\r', at))
        text.replace(at, 1, "&#xD;");
}

std::string finish(const pugi::xml_document& document) {
    StringWriter writer;
    writer.text = R"(<?xml version="1.0" encoding="utf-8"?>)";
    document.save(writer, "", pugi::format_raw | pugi::format_no_declaration, pugi::encoding_utf8);
    escape_returns(writer.text);
    return std::move(writer.text);
}

/// What the schema wants in a response message even when there is nothing to put in.
const char* mandatory_content(std::string_view operation) {
    if (operation == "GetFolder" || operation == "CreateFolder" || operation == "UpdateFolder")
        return "m:Folders";
    if (operation == "GetServerTimeZones")
        return "m:TimeZoneDefinitions";
    bool items = operation == "GetItem" || operation == "CreateItem" || operation == "UpdateItem" ||
                 operation == "MoveItem" || operation == "CopyItem";
    if (operation == "CreateAttachment" || operation == "GetAttachment")
        return "m:Attachments";
    return items ? "m:Items" : nullptr;
}

void write_message_xml(pugi::xml_node parent, const char* name, const MessageXml& xml) {
    if (xml.values.empty())
        return;
    pugi::xml_node element = parent.append_child(name);
    for (const auto& [key, value] : xml.values) {
        if (xml.as_elements)
            add_text(element, ("t:" + key).c_str(), value);
        else
            add_text(element, "t:Value", value).append_attribute("Name") = key.c_str();
    }
}

}  // namespace

std::string_view local_name(pugi::xml_node node) {
    std::string_view name = node.name();
    std::size_t colon = name.find(':');
    return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

std::string_view namespace_of(pugi::xml_node node) {
    std::string_view name = node.name();
    std::size_t colon = name.find(':');
    std::string_view prefix = colon == std::string_view::npos ? "" : name.substr(0, colon);
    auto declares = [&](std::string_view attribute) {
        if (!attribute.starts_with("xmlns"))
            return false;
        attribute.remove_prefix(5);
        return prefix.empty() ? attribute.empty()
                              : attribute.starts_with(':') && attribute.substr(1) == prefix;
    };
    for (; node; node = node.parent())
        for (pugi::xml_attribute attribute : node.attributes())
            if (declares(attribute.name()))
                return attribute.value();
    return {};
}

pugi::xml_node child(pugi::xml_node parent, std::string_view name) {
    for (pugi::xml_node node : parent.children())
        if (node.type() == pugi::node_element && local_name(node) == name)
            return node;
    return {};
}

pugi::xml_node first_element(pugi::xml_node parent) {
    return parent.find_child([](pugi::xml_node n) { return n.type() == pugi::node_element; });
}

std::size_t count_elements(pugi::xml_node parent) {
    std::size_t count = 0;
    for (pugi::xml_node node : parent.children())
        count += node.type() == pugi::node_element;
    return count;
}

pugi::xml_node add_text(pugi::xml_node parent, const char* name, std::string_view text) {
    pugi::xml_node element = parent.append_child(name);
    if (!text.empty())
        element.append_child(pugi::node_pcdata).set_value(std::string(text).c_str());
    return element;
}

void copy_as_types(pugi::xml_node to, pugi::xml_node from) {
    pugi::xml_node copy = to.append_child(("t:" + std::string(local_name(from))).c_str());
    for (pugi::xml_attribute attribute : from.attributes())
        if (!std::string_view(attribute.name()).starts_with("xmlns"))
            copy.append_copy(attribute);
    for (pugi::xml_node inner : from.children()) {
        if (inner.type() == pugi::node_element)
            copy_as_types(copy, inner);
        else if (inner.type() == pugi::node_pcdata || inner.type() == pugi::node_cdata)
            copy.append_child(pugi::node_pcdata).set_value(inner.value());
    }
}

std::string serialise(pugi::xml_node node) {
    StringWriter writer;
    node.print(writer, "", pugi::format_raw);
    return std::move(writer.text);
}

Answer::Answer(std::string_view operation) : operation_(operation) {
    pugi::xml_node body = begin_envelope(document_);
    pugi::xml_node response = body.append_child(("m:" + operation_ + "Response").c_str());
    response.append_attribute("xmlns:m") = std::string(kMessages).c_str();
    response.append_attribute("xmlns:t") = std::string(kTypes).c_str();
    messages_ = response.append_child("m:ResponseMessages");
}

pugi::xml_node Answer::message(const char* response_class) {
    pugi::xml_node added = messages_.append_child(("m:" + operation_ + "ResponseMessage").c_str());
    added.append_attribute("ResponseClass") = response_class;
    return added;
}

pugi::xml_node Answer::success() {
    pugi::xml_node added = message("Success");
    add_text(added, "m:ResponseCode", "NoError");
    return added;
}

void Answer::error(const ItemError& error) {
    pugi::xml_node added = message("Error");
    add_text(added, "m:MessageText", error.text);
    add_text(added, "m:ResponseCode", error.code);
    add_text(added, "m:DescriptiveLinkKey", "0");
    write_message_xml(added, "m:MessageXml", error.xml);
    if (const char* content = mandatory_content(operation_))
        added.append_child(content);
}

std::string Answer::text() const {
    return finish(document_);
}

std::string fault_text(const SoapFault& fault) {
    pugi::xml_document document;
    pugi::xml_node added = begin_envelope(document).append_child("s:Fault");
    pugi::xml_node code = add_text(added, "faultcode", "a:" + fault.code);
    code.append_attribute("xmlns:a") = std::string(kTypes).c_str();
    add_text(added, "faultstring", fault.text).append_attribute("xml:lang") = "en-US";
    pugi::xml_node detail = added.append_child("detail");
    constexpr const char* errors = "http://schemas.microsoft.com/exchange/services/2006/errors";
    add_text(detail, "e:ResponseCode", fault.code).append_attribute("xmlns:e") = errors;
    add_text(detail, "e:Message", fault.text).append_attribute("xmlns:e") = errors;
    if (!fault.xml.values.empty()) {
        write_message_xml(detail, "t:MessageXml", fault.xml);
        child(detail, "MessageXml").append_attribute("xmlns:t") = std::string(kTypes).c_str();
    }
    return finish(document);
}

}  // namespace stand_in
