#include "directory/search.h"

#include <array>
#include <charconv>
#include <optional>

#include "directory/attribute.h"
#include "record/text.h"

namespace crmsync::directory {

namespace {

struct ControlDeleter {
    void operator()(LDAPControl* control) const noexcept { ldap_control_free(control); }
};

int to_ldap(Scope scope) {
    switch (scope) {
        case Scope::base:
            return LDAP_SCOPE_BASE;
        case Scope::one:
            return LDAP_SCOPE_ONELEVEL;
        case Scope::sub:
            return LDAP_SCOPE_SUBTREE;
    }
    return LDAP_SCOPE_SUBTREE;
}

struct BerDeleter {
    void operator()(BerElement* ber) const noexcept { ber_free(ber, 0); }
};

std::string_view view(const berval& value) {
    return value.bv_val == nullptr ? std::string_view()
                                   : std::string_view(value.bv_val, value.bv_len);
}

// Points the entry into the message, and uses the entry's vectors again and again.
void decode(LDAP* ldap, LDAPMessage* message, Entry& entry) {
    BerElement* ber = nullptr;
    berval dn{};
    if (ldap_get_dn_ber(ldap, message, &ber, &dn) != LDAP_SUCCESS) {
        throw Error(ErrorKind::incomplete, "the server sent an entry that cannot be read");
    }
    const std::unique_ptr<BerElement, BerDeleter> owner(ber);
    entry.dn = view(dn);
    entry.attribute_count = 0;
    for (;;) {
        berval name{};
        BerVarray values = nullptr;
        if (ldap_get_attribute_ber(ldap, message, ber, &name, &values) != LDAP_SUCCESS) {
            throw Error(ErrorKind::incomplete,
                        "the server sent an entry that cannot be read: " + std::string(entry.dn));
        }
        if (name.bv_val == nullptr) {
            break;
        }
        if (entry.attributes.size() == entry.attribute_count) {
            entry.attributes.emplace_back();
        }
        Attribute& attribute = entry.attributes[entry.attribute_count++];
        attribute.name = view(name);
        attribute.values.clear();
        for (const berval* value = values; value != nullptr && value->bv_val != nullptr; ++value) {
            attribute.values.push_back(view(*value));
        }
        ber_memfree(values);  // the array only: what it points to belongs to the message
    }
}

// Where a part of the tree is to be looked for instead; never empty.
std::string referred_to(LDAP* ldap, LDAPMessage* message) {
    char** references = nullptr;
    std::string first;
    if (ldap_parse_reference(ldap, message, &references, nullptr, 0) == LDAP_SUCCESS &&
        references != nullptr && references[0] != nullptr) {
        first = record::cleaned(references[0]);
    }
    ber_memvfree(reinterpret_cast<void**>(references));
    return first.empty() ? "an address that cannot be read" : first;
}

// One search in all its pages.
class Pages {
  public:
    Pages(Connection& connection, const Query& query, const Sink& sink)
        : connection_(connection), query_(query), sink_(sink), page_size_(query.page_size) {
        for (const std::string& attribute : query.attributes) {
            attributes_.push_back(const_cast<char*>(attribute.c_str()));
        }
        if (attributes_.empty()) {
            attributes_.push_back(const_cast<char*>(LDAP_NO_ATTRS));
        }
        attributes_.push_back(nullptr);
    }

    std::uint64_t run() {
        do {
            const int message_id = send();
            try {
                receive(message_id);
            } catch (...) {
                connection_.abandon(message_id);
                throw;
            }
        } while (!complete_);
        return count_;
    }

  private:
    int send() {
        std::array<LDAPControl*, 2> controls = {nullptr, nullptr};
        std::unique_ptr<LDAPControl, ControlDeleter> paging;
        if (page_size_ > 0) {
            berval cookie{cookie_.size(), cookie_.data()};
            LDAPControl* control = nullptr;
            const int code =
                ldap_create_page_control(connection_.get(), static_cast<ber_int_t>(page_size_),
                                         cookie_.empty() ? nullptr : &cookie, 0, &control);
            if (code != LDAP_SUCCESS) {
                throw connection_.local_failure(code, "a search");
            }
            paging.reset(control);
            controls[0] = control;
        }
        before_page_ = count_;
        int message_id = 0;
        const int code = ldap_search_ext(
            connection_.get(), query_.base.c_str(), to_ldap(query_.scope), query_.filter.c_str(),
            attributes_.data(), 0, controls.data(), nullptr, nullptr, LDAP_NO_LIMIT, &message_id);
        if (code != LDAP_SUCCESS) {
            throw connection_.local_failure(code, "a search below \"" + query_.base + "\"");
        }
        return message_id;
    }

    void receive(int message_id) {
        for (;;) {
            const Message message = connection_.wait(message_id);
            switch (ldap_msgtype(message.get())) {
                case LDAP_RES_SEARCH_ENTRY:
                    decode(connection_.get(), message.get(), entry_);
                    sink_(entry_);
                    if (++count_ == query_.sample) {
                        connection_.abandon(message_id);
                        complete_ = true;
                        return;
                    }
                    break;
                case LDAP_RES_SEARCH_REFERENCE:
                    if (reference_.empty()) {
                        reference_ = referred_to(connection_.get(), message.get());
                    }
                    break;
                case LDAP_RES_SEARCH_RESULT:
                    finish_page(message.get());
                    return;
                default:
                    break;  // intermediate responses of controls we did not send
            }
        }
    }

    void finish_page(LDAPMessage* message) {
        const Result result(connection_.get(), message);
        if (result.code == LDAP_SUCCESS) {
            take_cookie(result.controls);
            complete_ = cookie_.empty();
            if (complete_ && !reference_.empty() && !query_.ignore_references) {
                throw Error(ErrorKind::incomplete,
                            "the server refers to other servers for parts of \"" + query_.base +
                                "\": " + reference_,
                            "choose a base that this server holds whole");
            }
        } else if (page_is_too_large(result.code)) {
            page_size_ = smallest_page_size;
        } else if (paging_is_refused(result.code)) {
            page_size_ = 0;
        } else if (result.code == LDAP_REFERRAL) {
            throw Error(
                ErrorKind::incomplete,
                "the server refers to another one for \"" + query_.base + "\": " + result.referral,
                "point the target at the server that holds the base", result.code);
        } else {
            throw connection_.failure(
                result.code,
                "the search below \"" + query_.base + "\"" +
                    (count_ > 0 ? ", incomplete after " + std::to_string(count_) + " entries,"
                                : ""),
                result.diagnostic);
        }
    }

    bool page_is_too_large(int code) const {
        return page_size_ > smallest_page_size && count_ == 0 && cookie_.empty() &&
               (code == LDAP_ADMINLIMIT_EXCEEDED || code == LDAP_SIZELIMIT_EXCEEDED ||
                code == LDAP_UNWILLING_TO_PERFORM);
    }

    // Some servers know the control and yet refuse it to some accounts; nothing was sent then.
    bool paging_is_refused(int code) const {
        return page_size_ > 0 && count_ == 0 && cookie_.empty() &&
               (code == LDAP_UNAVAILABLE_CRITICAL_EXTENSION || code == LDAP_UNWILLING_TO_PERFORM ||
                code == LDAP_INAPPROPRIATE_MATCHING || code == LDAP_ADMINLIMIT_EXCEEDED);
    }

    void take_cookie(LDAPControl** controls) {
        cookie_.clear();
        LDAPControl* control = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, nullptr);
        if (page_size_ == 0) {
            return;
        }
        if (control == nullptr) {
            // A server that does not know pages sends everything at once. What is just a page may
            // be the first of more, of which something between us and the server has kept silent.
            if (count_ - before_page_ == static_cast<std::uint64_t>(page_size_)) {
                throw Error(ErrorKind::incomplete,
                            "the server does not say whether there is more after " +
                                std::to_string(count_) + " entries",
                            "ask the server itself, not a proxy, or choose another page_size");
            }
            return;
        }
        ber_int_t estimate = 0;
        berval cookie{};
        const int code =
            ldap_parse_pageresponse_control(connection_.get(), control, &estimate, &cookie);
        if (code != LDAP_SUCCESS) {
            throw Error(ErrorKind::incomplete, "the server's page cookie cannot be read", "", code);
        }
        cookie_.assign(cookie.bv_val == nullptr ? "" : cookie.bv_val, cookie.bv_len);
        ber_memfree(cookie.bv_val);
    }

    Connection& connection_;
    const Query& query_;
    const Sink& sink_;
    int page_size_;
    std::vector<char*> attributes_;
    std::string cookie_;
    Entry entry_;
    std::uint64_t count_ = 0;
    std::uint64_t before_page_ = 0;
    std::string reference_;  // the first one to another server
    bool complete_ = false;
};

std::uint64_t read_base(Connection& connection, const std::string& base) {
    Query query;
    query.base = base;
    query.scope = Scope::base;
    query.page_size = 0;
    const Sink nobody = [](const Entry&) {};
    return Pages(connection, query, nobody).run();
}

// The number after the '-' of ";range=low-high"; nullopt when there is no such option, or it is
// '*', which ends the series.
std::optional<std::uint64_t> range_end(std::string_view name) {
    constexpr std::string_view option = ";range=";
    const std::size_t at = name.find(option);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const std::size_t dash = name.find('-', at);
    std::uint64_t end = 0;
    if (dash == std::string_view::npos ||
        std::from_chars(name.data() + dash + 1, name.data() + name.size(), end).ec != std::errc()) {
        return std::nullopt;
    }
    return end;
}

}  // namespace

const Attribute* Entry::find(std::string_view name) const noexcept {
    const Attribute* found = nullptr;
    for (std::size_t i = 0; i < attribute_count; ++i) {
        const Attribute& candidate = attributes[i];
        if (candidate.name.size() < name.size() ||
            (candidate.name.size() > name.size() && candidate.name[name.size()] != ';') ||
            !same_name(candidate.name.substr(0, name.size()), name)) {
            continue;
        }
        if (candidate.name.size() == name.size() && !candidate.values.empty()) {
            return &candidate;
        }
        if (found == nullptr || found->values.empty() ||
            (!candidate.values.empty() && candidate.name < found->name)) {
            found = &candidate;
        }
    }
    return found;
}

std::uint64_t search(Connection& connection, const Query& query, const Sink& sink) {
    const std::uint64_t count = Pages(connection, query, sink).run();
    if (count == 0 && query.page_size > 0) {
        // 389 Directory Server (2.3) says of a base that does not exist, when it is asked in pages,
        // that nothing lies below.
        read_base(connection, query.base);
    }
    return count;
}

bool shows_base(Connection& connection, const std::string& base) {
    return read_base(connection, base) > 0;
}

std::uint64_t read_values(Connection& connection, const std::string& dn, const std::string& filter,
                          const std::string& attribute,
                          const std::function<void(std::string_view)>& sink) {
    std::uint64_t count = 0;
    std::uint64_t next = 0;
    bool more = true;
    while (more) {
        Query query;
        query.base = dn;
        query.scope = Scope::base;
        query.filter = filter;
        query.page_size = 0;
        query.attributes = {next == 0 ? attribute
                                      : attribute + ";range=" + std::to_string(next) + "-*"};
        more = false;
        const std::uint64_t found = search(connection, query, [&](const Entry& entry) {
            for (std::size_t i = 0; i < entry.attribute_count; ++i) {
                const Attribute& part = entry.attributes[i];
                if (!same_name(base_name(part.name), attribute)) {
                    continue;
                }
                for (const std::string_view value : part.values) {
                    sink(value);
                    ++count;
                }
                if (const auto end = range_end(part.name); end && *end >= next) {
                    next = *end + 1;
                    more = true;
                }
            }
        });
        if (found == 0) {
            throw Error(ErrorKind::not_found, "there is no entry \"" + dn + "\" of this kind");
        }
    }
    return count;
}

}  // namespace crmsync::directory
