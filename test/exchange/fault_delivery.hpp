// What the injected faults do, each error class of a real server and of the network before it.
#pragma once

#include "errors.hpp"
#include "faults.hpp"
#include "reply.hpp"

#include <pugixml.hpp>

#include <functional>
#include <optional>
#include <string>

namespace stand_in {

bool is_fault_action(const std::string& action);
std::string fault_actions();

/// Is the operation carried out in spite of the fault? (the setting carry_out, or the default)
bool carries_out(const Fault& fault);

/// The answer instead of the operation's; for faults that do not carry it out.
/// `request` is the operation's element, null for other endpoints.
Reply instead(const Fault& fault, const std::string& operation, pugi::xml_node request);

/// Makes the operation wait, where it is carried out only when nobody waits for it any more.
void put_off(const Fault& fault);

/// Spoils, slows or drops the answer of an operation that was carried out.
void spoil(const Fault& fault, Reply& reply);

/// The hook for the items of a batch that the action `item` hits; null for other actions.
std::function<void(std::size_t, pugi::xml_node)> item_hook(const Fault& fault);

}  // namespace stand_in
