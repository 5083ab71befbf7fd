#include "service.hpp"

#include "connection.hpp"
#include "date_time.hpp"
#include "fault_delivery.hpp"
#include "pace.hpp"
#include "request_check.hpp"

#include <iostream>

namespace stand_in {

namespace {

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::duration time) {
    return std::chrono::duration<double, std::milli>(time).count();
}

Reply unauthorized() {
    Reply reply;
    reply.status = 401;
    reply.content_type = "text/html";
    reply.headers.emplace("WWW-Authenticate", "Basic realm=\"127.0.0.1\"");
    reply.headers.emplace("WWW-Authenticate", "Bearer");
    return reply;
}

bool known_version(std::string_view version) {
    constexpr std::string_view known[] = {
        "Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2",
        "Exchange2013", "Exchange2013_SP1", "Exchange2015", "Exchange2016",     "V2015_10_05",
        "V2016_01_06",  "V2016_04_13",      "V2016_07_13",  "V2016_10_10",      "V2017_01_07",
        "V2017_04_14",  "V2017_07_11"};
    return std::find(std::begin(known), std::end(known), version) != std::end(known);
}

/// A version that the server does not know is told before anything else is looked at; clients step
/// down from their newest until one is known.
void check_version(pugi::xml_node envelope) {
    pugi::xml_node requested = child(child(envelope, "Header"), "RequestServerVersion");
    if (!known_version(requested.attribute("Version").as_string("Exchange2013_SP1")))
        throw SoapFault{"ErrorInvalidServerVersion", "The request version is invalid."};
}

/// Counts the requests that are in one mailbox at the same time.
class Presence {
  public:
    explicit Presence(MailboxPtr mailbox) : mailbox_(std::move(mailbox)) {
        if (!mailbox_)
            return;
        int now = ++mailbox_->in_flight;
        int most = mailbox_->most_in_flight;
        while (now > most && !mailbox_->most_in_flight.compare_exchange_weak(most, now)) {
        }
    }
    ~Presence() {
        if (mailbox_)
            --mailbox_->in_flight;
    }
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

  private:
    MailboxPtr mailbox_;
};

}  // namespace

struct Service::Parsed {
    pugi::xml_document document;
    pugi::xml_node envelope, request;
    std::string operation, sid_kind, sid;
};

Service::Service(const Options& given)
    : options(given), authentication(given), journal(given.journal, given.bodies) {
    settings.request_ms = given.request_ms;
    settings.item_ms = given.item_ms;
    if (!given.schema.empty())
        schema_ = std::make_unique<Schema>(given.schema);
    reset();
}

void Service::reset() {
    directory.clear();
    faults.clear();
    journal.clear();
    for (int n = 1; n <= options.mailboxes; ++n)
        directory.create("user" + std::to_string(n) + "@example.test");
    for (const std::string& address : options.addresses)
        directory.create(address);
    if (options.user.find('@') != std::string::npos)
        directory.create(options.user);
}

void Service::pause(bool paused) {
    {
        std::lock_guard lock(pause_mutex_);
        paused_ = paused;
    }
    resumed_.notify_all();
}

void Service::wait_while_paused() {
    if (!paused_)
        return;
    std::unique_lock lock(pause_mutex_);
    resumed_.wait(lock, [&] { return !paused_.load(); });
}

void Service::ews(const httplib::Request& request, httplib::Response& response) {
    auto start = Clock::now();
    Entry entry;
    entry.number = ++requests_;
    entry.at_ms = milliseconds(start - started_);
    entry.bytes_in = request.body.size();
    entry.connection = Connection::current().number;
    entry.anchor = request.get_header_value("X-AnchorMailbox");
    journal.keep(entry.number, ".request.xml", request.body);
    wait_while_paused();
    std::size_t items = 0;
    Reply reply = handle(request, entry, items);
    if (std::string id = request.get_header_value("client-request-id"); !id.empty())
        reply.headers.emplace("client-request-id", id);
    if (settings.sends_date)
        reply.headers.emplace("Date", http_date());
    journal.keep(entry.number, ".answer.xml", reply.body);
    double wanted = settings.request_ms + settings.item_ms * static_cast<double>(items);
    sleep_until(start, wanted);
    entry.items = items;
    entry.status = reply.status;
    entry.bytes_out = reply.body.size();
    entry.took_ms = milliseconds(Clock::now() - start);
    journal.add(entry);
    send(std::move(reply), response, options.gzip);
}

Reply Service::handle(const httplib::Request& request, Entry& entry, std::size_t& items) {
    Parsed parsed;
    auto failed = [&](const SoapFault& fault) {
        entry.code = fault.code;
        Reply reply;
        reply.status = fault.status;
        reply.body = fault_text(fault);
        return reply;
    };
    std::optional<SoapFault> broken;
    try {
        parse(request.body, parsed);
    } catch (const SoapFault& fault) {
        broken = fault;
    }
    entry.operation = parsed.operation.empty() ? "unknown" : parsed.operation;
    entry.mailbox = parsed.sid;
    std::optional<Fault> fault = faults.take("ews", parsed.operation, parsed.sid);
    if (fault) {
        entry.fault = fault->action;
        if (!carries_out(*fault))
            return instead(*fault, parsed.operation, parsed.request);
    }
    auto account = authentication.account(request.get_header_value("Authorization"));
    if (!account)
        return unauthorized();
    if (broken)
        return failed(*broken);
    try {
        check_version(parsed.envelope);
        check_schema(request.body);
        check_request(parsed.envelope, request.body);
        return carry_out(parsed, *account, fault, items);
    } catch (const SoapFault& problem) {
        return failed(problem);
    } catch (const ItemError& problem) {
        return failed({problem.code, problem.text, problem.xml});
    } catch (const std::exception& problem) {
        return failed({"ErrorInternalServerError", problem.what()});
    }
}

void Service::parse(const std::string& body, Parsed& parsed) const {
    auto result = parsed.document.load_buffer(body.data(), body.size(),
                                              pugi::parse_default | pugi::parse_ws_pcdata_single,
                                              pugi::encoding_utf8);
    parsed.envelope = child(parsed.document, "Envelope");
    parsed.request = first_element(child(parsed.envelope, "Body"));
    parsed.operation = local_name(parsed.request);
    pugi::xml_node sid = first_element(
        child(child(child(parsed.envelope, "Header"), "ExchangeImpersonation"), "ConnectingSID"));
    parsed.sid_kind = local_name(sid);
    parsed.sid = lower_case(sid.child_value());
    check_characters(body);
    if (!result || !parsed.request)
        throw SoapFault{"ErrorSchemaValidation",
                        std::string("The request failed schema validation: ") +
                            (result ? "There is no operation." : result.description())};
}

void Service::check_schema(const std::string& body) const {
    if (!schema_)
        return;
    if (auto violation = schema_->validate(body)) {
        MessageXml xml;
        xml.as_elements = true;
        xml.values = {{"LineNumber", std::to_string(violation->line)},
                      {"LinePosition", "1"},
                      {"Violation", violation->text}};
        throw SoapFault{"ErrorSchemaValidation",
                        "The request failed schema validation: " + violation->text, xml};
    }
}

MailboxPtr Service::impersonate(pugi::xml_node sid) const {
    std::string_view kind = local_name(sid), value = sid.child_value();
    if (kind == "SID") {
        for (const MailboxPtr& mailbox : directory.all())
            if (sid_of(*mailbox) == value)
                return mailbox;
        throw SoapFault{"ErrorInvalidSid", "The SID is invalid."};
    }
    if (MailboxPtr found = directory.find(value))
        return found;
    std::string primary = directory.primary_of(value);
    if (!primary.empty() && kind != "PrimarySmtpAddress")
        return directory.find(primary);
    if (!primary.empty())
        throw SoapFault{"ErrorNonPrimarySmtpAddress",
                        "The primary SMTP address must be specified when referencing a mailbox.",
                        {{{"Primary", primary}}, false}};
    if (kind == "PrincipalName")
        throw SoapFault{"ErrorInvalidUserPrincipalName",
                        "The user principal name (UPN) is not valid."};
    throw SoapFault{"ErrorNonExistentMailbox",
                    "The SMTP address has no mailbox associated with it."};
}

void Service::enter_mailbox(const Parsed& parsed, const std::string& account,
                            Context& context) const {
    pugi::xml_node header = child(parsed.envelope, "Header");
    pugi::xml_node impersonation = child(header, "ExchangeImpersonation");
    if (!impersonation) {
        context.mailbox = directory.find(account);
        return;
    }
    context.mailbox = impersonate(first_element(child(impersonation, "ConnectingSID")));
    context.impersonated = true;
    std::lock_guard lock(context.mailbox->mutex);
    if (settings.deny_impersonation || context.mailbox->deny_impersonation)
        throw SoapFault{"ErrorImpersonateUserDenied",
                        "The account does not have permission to impersonate the requested user."};
}

Reply Service::carry_out(const Parsed& parsed, const std::string& account,
                         const std::optional<Fault>& fault, std::size_t& items) {
    Context context{directory, nullptr, false, settings.property_sets_as_guid, {}, 0};
    enter_mailbox(parsed, account, context);
    Operation operation = find_operation(parsed.operation);
    if (!operation)
        throw SoapFault{"ErrorInvalidRequest",
                        "The operation " + parsed.operation + " is not served here."};
    if (fault) {
        context.before_item = item_hook(*fault);
        put_off(*fault);
    }
    Reply reply;
    {
        // Of what comes late, or was given up while we stood still, its client knows no more that
        // it is there.
        Presence presence(Connection::current().peer_closed() ? nullptr : context.mailbox);
        reply.body = operation(context, parsed.request);
    }
    items = context.items;
    check_answer(reply);
    if (fault)
        spoil(*fault, reply);
    return reply;
}

void Service::check_answer(const Reply& reply) const {
    if (!schema_ || !options.check_answers)
        return;
    if (auto violation = schema_->validate(reply.body)) {
        std::cerr << "our own answer is not valid: " << violation->text << "\n"
                  << reply.body << "\n";
        throw SoapFault{"ErrorInternalServerError",
                        "the stand-in's own answer is not valid: " + violation->text};
    }
}

void Service::token(const httplib::Request& request, httplib::Response& response) {
    auto start = Clock::now();
    Entry entry;
    entry.number = ++requests_;
    entry.at_ms = milliseconds(start - started_);
    entry.operation = "token";
    entry.connection = Connection::current().number;
    wait_while_paused();
    if (auto fault = faults.take("token", "token", "")) {
        entry.fault = fault->action;
        Reply reply = instead(*fault, "token", {});
        entry.status = reply.status;
        journal.add(entry);
        send(std::move(reply), response, false);
        return;
    }
    authentication.issue(request, response);
    entry.status = response.status;
    journal.add(entry);
}

}  // namespace stand_in
