// The answer to one HTTP request, before it is handed to the HTTP library.
#pragma once

#include <httplib.h>

#include <functional>
#include <string>

namespace stand_in {

struct Reply {
    int status = 200;
    std::string body;
    std::string content_type = "text/xml; charset=utf-8";
    httplib::Headers headers;
    /// Sends the body in an unusual way; null: as it is.
    std::function<void(Reply&, httplib::Response&)> deliver;
};

/// Hands a reply over. `gzip` lets the library compress it where the client accepts that.
void send(Reply reply, httplib::Response& response, bool gzip);

}  // namespace stand_in
