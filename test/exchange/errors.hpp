// The two ways in which an operation fails: one item, or the whole request.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace stand_in {

/// Name and text of t:Value elements of MessageXml, or of named elements where `as_elements`.
struct MessageXml {
    std::vector<std::pair<std::string, std::string>> values;
    bool as_elements = false;
};

/// Ends in a response message of class Error; other items of the request go on.
struct ItemError {
    std::string code;
    std::string text;
    MessageXml xml = {};
};

/// Ends in a SOAP fault for the whole request.
struct SoapFault {
    std::string code;
    std::string text;
    MessageXml xml = {};
    int status = 500;
};

}  // namespace stand_in
