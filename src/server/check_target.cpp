// The SQL function crmsync.check_target: tries a target now, step by step, for an administrator who
// waits for the answer. With write, every property goes into a scratch folder and is read back.

#include <chrono>
#include <functional>

#include "directory/check.h"
#include "exchange/ews/field_uri.h"
#include "exchange/ews/protocol.h"
#include "net/client.h"
#include "net/probe.h"
#include "record/content.h"
#include "record/value.h"
#include "server/configuration/configuration.h"
#include "server/import/directory_link.h"
#include "server/postgres/query.h"
#include "server/postgres/result_set.h"

namespace {

using namespace crmsync;
using record::Object;

struct Step {
    std::string name;
    bool ok;
    std::string detail;
    std::string hint;
};

using Steps = std::vector<Step>;

bool should_stop() {
    pg::check_interrupts();
    return false;
}

// One operation after the other, each waited for in slices in which a cancel is noticed.
class Session {
  public:
    Session(const TargetConfiguration& target, std::string mailbox)
        : endpoint_(target.endpoint),
          account_{std::move(mailbox), target.impersonation, target.server_version} {}

    exchange::Answer run(const exchange::Operation& operation) {
        client_.submit(endpoint_, exchange::ews::render(operation, account_));
        for (;;) {
            for (const net::Completion& done : client_.advance()) {
                return exchange::ews::read(operation, done.response);
            }
            client_.wait(std::chrono::milliseconds(100));
            pg::check_interrupts();
        }
    }

  private:
    net::Client client_;
    std::shared_ptr<const net::Endpoint> endpoint_;
    exchange::Account account_;
};

// Of the server, or of an older one that has the mailbox.
bool is_of_version(const std::string& code) {
    return code == "ErrorInvalidServerVersion" || code == "ErrorIncorrectSchemaVersion" ||
           code == "ErrorInvalidSchemaVersionForMailboxVersion";
}

std::string hint_for(const exchange::Failure& failure) {
    if (!failure.correct_address.empty()) {
        return "Use the primary address: " + failure.correct_address + ".";
    }
    if (is_of_version(failure.code)) {
        return "Set the target's option server_version to one that the mailbox's server knows, "
               "such as Exchange2010_SP2.";
    }
    switch (failure.disposition) {
        case exchange::Disposition::credentials:
            return "Check username and secret, and whether the account is locked; with Extended "
                   "Protection set to Require, NTLM without channel binding is refused too.";
        case exchange::Disposition::mailbox_disabled:
            return "Check the address, and that the account may impersonate it (role "
                   "ApplicationImpersonation).";
        case exchange::Disposition::mailbox_full:
            return "Its user has to make room in it.";
        case exchange::Disposition::target_broken:
            return "Check the URL: it ends in /EWS/Exchange.asmx.";
        case exchange::Disposition::retry_later:
        case exchange::Disposition::back_off:
        case exchange::Disposition::shrink_batch:
            return "The server is busy or in trouble: try again later.";
        default:
            return {};
    }
}

bool add_step(Steps& steps, const std::string& name, const exchange::Answer& answer,
              const std::string& good) {
    if (!answer.failure) {
        steps.push_back({name, true, good, {}});
        return true;
    }
    steps.push_back({name, false, answer.failure->code + ": " + answer.failure->message,
                     hint_for(*answer.failure)});
    return false;
}

// A value that is unlikely to be there by itself.
record::Value sample_value(const record::Property& property) {
    switch (property.type) {
        case record::Type::email:
            return "check." + std::string(property.name) + "@example.com";
        case record::Type::date:
            return "1980-02-29";
        case record::Type::timestamp:
            return "2030-01-02T03:04:05Z";
        case record::Type::boolean:
            return "true";
        case record::Type::integer:
            return "15";
        case record::Type::choice: {
            const auto comma = property.choices.rfind(',');
            return std::string(
                property.choices.substr(comma == std::string_view::npos ? 0 : comma + 1));
        }
        case record::Type::text_list:
            return R"(["crmsync check"])";
        case record::Type::binary:
            return std::nullopt;
        case record::Type::text:
            break;
    }
    return "Check " + std::string(property.name);
}

record::Fields sample_fields(Object object) {
    record::Fields fields;
    for (const record::Property& property : record::properties()) {
        if (record::belongs_to(property, object) && property.access != record::Access::inbound &&
            exchange::ews::carried(property)) {
            const record::Value value = sample_value(property);
            if (value) {
                fields.push_back({&property, value});
            }
        }
    }
    return fields;
}

void compare_back(Steps& steps, const record::Fields& fields,
                  const std::vector<record::Value>& values) {
    for (std::size_t i = 0; i < fields.size() && i < values.size(); ++i) {
        const record::Property& property = *fields[i].property;
        const bool same =
            !property.compared || record::same_value(property, fields[i].value, values[i]);
        steps.push_back({"write " + std::string(property.name),
                         same,
                         same ? std::string(property.compared ? "written and read back" : "written")
                              : "wrote \"" + fields[i].value.value_or("") + "\", read \"" +
                                    values[i].value_or("") + "\"",
                         {}});
    }
}

// The smallest picture that there is: one dot, as GIF.
const record::Content sample_photo =
    std::make_shared<const std::string>("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7");

// It travels apart from the rest.
void check_photo(Steps& steps, Session& session, const exchange::ItemReference& item) {
    static const record::Property* const photo = record::find_property("photo", Object::contact);
    const std::string step = "write " + std::string(photo->name);
    const auto fail = [&](const exchange::Failure& failure) {
        steps.push_back({step, false, failure.code + ": " + failure.message, hint_for(failure)});
    };
    // A request as a whole, or what it was about.
    const auto failure_of = [](const exchange::Answer& answer) {
        return answer.failure         ? answer.failure
               : answer.items.empty() ? std::nullopt
                                      : answer.items.front().failure;
    };
    const auto written = session.run(exchange::CreateAttachment{item, "image/gif", sample_photo});
    if (const auto failure = failure_of(written)) {
        return fail(*failure);
    }
    const auto read = session.run(exchange::GetItems{Object::contact, {item.id}, {photo}});
    if (const auto failure = failure_of(read)) {
        return fail(*failure);
    }
    if (read.items.empty() || read.items.front().photos.empty()) {
        steps.push_back({step, false, "wrote a photo, read none", {}});
        return;
    }
    const auto held = session.run(exchange::GetAttachments{{read.items.front().photos.front()}});
    if (const auto failure = failure_of(held)) {
        return fail(*failure);
    }
    record::Values values;
    for (const exchange::ItemAnswer& answer : held.items) {
        values = answer.values;
    }
    compare_back(steps, {{photo, record::describe(*sample_photo)}}, values);
}

constexpr const char* scratch_folder = "crmsync check";

// Of a check that was cancelled between making the folder and removing it.
bool remove_leftover(Steps& steps, Session& session) {
    const auto found = session.run(exchange::FindFolder{Object::contact, scratch_folder});
    if (found.failure) {
        return add_step(steps, "scratch folder", found, {});
    }
    return found.folder_id.empty() ||
           add_step(steps, "leftover", session.run(exchange::DeleteFolder{found.folder_id}),
                    "a scratch folder that an interrupted check had left: removed");
}

void check_writing(Steps& steps, Session& session) {
    if (!remove_leftover(steps, session)) {
        return;
    }
    const auto folder = session.run(exchange::CreateFolder{Object::contact, scratch_folder});
    if (!add_step(steps, "scratch folder", folder, "created")) {
        return;
    }
    const record::Fields fields = sample_fields(Object::contact);
    record::Layout layout;
    for (const record::Field& field : fields) {
        layout.push_back(field.property);
    }
    exchange::CreateItems create{
        Object::contact, folder.folder_id, {{"check/check/check", fields}}};
    exchange::Answer created = session.run(create);
    if (!created.failure && !created.items.empty() && created.items[0].failure) {
        created.failure = created.items[0].failure;
    }
    if (add_step(steps, "create", created, "a contact with every property") &&
        !created.items.empty()) {
        const auto read =
            session.run(exchange::GetItems{Object::contact, {created.items[0].item.id}, layout});
        if (add_step(steps, "read back", read, "the contact") && !read.items.empty()) {
            compare_back(steps, fields, read.items[0].values);
            check_photo(steps, session, created.items[0].item);
        }
    }
    add_step(steps, "remove", session.run(exchange::DeleteFolder{folder.folder_id}),
             "the scratch folder and what was in it");
}

void check_exchange(Steps& steps, const TargetConfiguration& target,
                    const std::optional<std::string>& mailbox, bool write) {
    if (!target.problem.empty()) {
        steps.push_back({"configuration", false, target.problem,
                         "Mend the file, or call crmsync.alter_target with what is right."});
        return;
    }
    for (const net::ProbeStep& step : net::probe(*target.endpoint, should_stop)) {
        steps.push_back({step.step, step.ok, step.detail, step.hint});
    }
    // An anonymous GET may be answered in any way: what counts is the service's own answer.
    const std::size_t http = steps.size() - 1;
    if (!steps[http].ok && (!mailbox || steps[http].name != "http")) {
        return;
    }
    if (!mailbox) {
        steps.push_back({"authentication", true, "not tried",
                         "Name a mailbox to try authentication, impersonation and its folder."});
        return;
    }
    Session session(target, *mailbox);
    const auto folder = session.run(exchange::FindFolder{Object::contact, {}});
    if (!add_step(steps, "mailbox", folder,
                  "authenticated, and the contacts folder of " + *mailbox + " is open")) {
        return;
    }
    steps[http].ok = true;
    steps[http].hint.clear();
    if (write) {
        check_writing(steps, session);
    }
}

void check_directory(Steps& steps, const std::string& name) {
    const pg::Rows link = pg::query(
        "SELECT coalesce(options->>'base', ''), coalesce(options->>'filter', '') "
        "FROM crmsync.link WHERE target = $1 ORDER BY id LIMIT 1",
        std::string_view(name));
    const std::string base = link.empty() ? std::string() : link.string(0, 0);
    const std::string filter = link.empty() ? std::string() : link.string(0, 1);
    for (const directory::Step& step :
         directory::check(read_directory_server(name), base, filter, should_stop)) {
        steps.push_back({step.name, step.ok, step.detail, step.hint});
    }
}

// What would otherwise be left out without a word.
void check_arguments(const TargetConfiguration& target, bool has_mailbox, bool write) {
    if (target.kind == "ldap" && (has_mailbox || write)) {
        throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE,
                            "the parameter " + std::string(has_mailbox ? "mailbox" : "write") +
                                " does not apply to a target of kind ldap",
                            {}, "There are no mailboxes, and nothing is written: leave it out.");
    }
    if (write && !has_mailbox) {
        throw pg::UserError(ERRCODE_INVALID_PARAMETER_VALUE, "a check that writes needs a mailbox",
                            {}, "Name one with the parameter mailbox.");
    }
}

// As links have it.
std::optional<std::string> mailbox_argument(FunctionCallInfo call) {
    const auto given = pg::optional_text_argument(call, 1);
    return given ? pg::query("SELECT crmsync.address($1)", std::string_view(*given)).string(0, 0)
                 : given;
}

Datum check_target(FunctionCallInfo call) {
    pg::ResultSet result(call);
    pg::query("SELECT crmsync.require('operator')");
    if (call->args[0].isnull) {
        return Datum(0);
    }
    const std::string name = pg::text_argument(call, 0);
    const TargetConfiguration target = read_target(name);
    const auto mailbox = mailbox_argument(call);
    const bool write = !call->args[2].isnull && DatumGetBool(call->args[2].value);
    check_arguments(target, mailbox.has_value(), write);
    Steps steps;
    if (target.kind == "ldap") {
        check_directory(steps, name);
    } else {
        check_exchange(steps, target, mailbox, write);
    }
    for (const Step& step : steps) {
        result.add(
            {step.name, step.ok, pg::text_or_null(step.detail), pg::text_or_null(step.hint)});
    }
    return Datum(0);
}

}  // namespace

CRMSYNC_SQL_FUNCTION(crmsync_check_target, check_target);
