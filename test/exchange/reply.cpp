#include "reply.hpp"

#include <memory>

namespace stand_in {

void send(Reply reply, httplib::Response& response, bool gzip) {
    response.status = reply.status;
    for (const auto& [name, value] : reply.headers)
        response.headers.emplace(name, value);
    if (reply.deliver) {
        auto deliver = std::move(reply.deliver);
        deliver(reply, response);
        return;
    }
    if (gzip || reply.body.empty()) {
        response.set_content(reply.body, reply.content_type);
        return;
    }
    // A provider of known length is what the library never compresses.
    auto body = std::make_shared<std::string>(std::move(reply.body));
    response.set_content_provider(
        body->size(), reply.content_type,
        [body](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
            return sink.write(body->data() + offset, length);
        });
}

}  // namespace stand_in
