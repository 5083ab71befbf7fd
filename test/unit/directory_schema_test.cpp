// What schemas of servers say of groups without members.
#include "directory/schema.h"

#include <gtest/gtest.h>

namespace crmsync::directory {
namespace {

TEST(Schema, AsOpenLdapHasIt) {
    const Schema schema({
        "( 2.5.6.0 NAME 'top' DESC 'top of the superclass chain' ABSTRACT MUST objectClass )",
        "( 2.5.6.9 NAME 'groupOfNames' DESC 'RFC2256: a group of names (DNs)' SUP top STRUCTURAL "
        "MUST ( member $ cn ) MAY ( businessCategory $ seeAlso $ owner $ ou $ o $ description ) )",
        "( 1.3.6.1.1.1.2.2 NAME 'posixGroup' SUP top STRUCTURAL MUST ( cn $ gidNumber ) "
        "MAY ( userPassword $ memberUid $ description ) )",
    });
    EXPECT_EQ(schema.demands("groupofnames", "member"), true);
    EXPECT_EQ(schema.demands("posixGroup", "memberUid"), false);
    EXPECT_EQ(schema.demands("top", "objectclass"), true);
    EXPECT_EQ(schema.demands("groupOfUniqueNames", "uniqueMember"), std::nullopt);
}

TEST(Schema, As389DirectoryServerHasIt) {
    const Schema schema({
        "( 2.5.6.9 NAME 'groupOfNames' SUP top STRUCTURAL MUST cn MAY ( member $ businessCategory "
        "$ seeAlso $ owner $ ou $ o $ description ) X-ORIGIN 'RFC 4519' )",
    });
    EXPECT_EQ(schema.demands("groupOfNames", "member"), false);
    EXPECT_EQ(schema.demands("groupOfNames", "cn"), true);
}

TEST(Schema, WhatCannotBeReadDefinesNothing) {
    const Schema schema({"", "( 2.5.6.9 NAME 'groupOfNames", "no schema"});
    EXPECT_EQ(schema.demands("groupOfNames", "member"), std::nullopt);
}

}  // namespace
}  // namespace crmsync::directory
