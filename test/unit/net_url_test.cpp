#include "net/url.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace crmsync::net {

namespace {

std::string refusal(const std::string& text) {
    try {
        parse_url(text);
    } catch (const std::invalid_argument& error) {
        return error.what();
    }
    return "";
}

TEST(Url, HasItsParts) {
    const Url url = parse_url("HTTPS://Mail.Example.COM./EWS/Exchange.asmx?x=1");
    EXPECT_EQ(url.scheme, "https");
    EXPECT_EQ(url.host, "mail.example.com");
    EXPECT_EQ(url.port, 443);
    EXPECT_EQ(url.path, "/EWS/Exchange.asmx");
    EXPECT_EQ(parse_url("http://a").port, 80);
    EXPECT_EQ(parse_url("http://a").path, "/");
    EXPECT_EQ(parse_url("http://a:8080/").port, 8080);
    EXPECT_EQ(parse_url("ldap://dc1").port, 389);
    EXPECT_EQ(parse_url("ldaps://dc1").port, 636);
    EXPECT_EQ(parse_url("http://[0:0:0:0:0:0:0:1]/").host, "::1");
}

TEST(Url, IsRefused) {
    for (const char* text : {"", "mail.example.com", "https://", "https:// a/", "https://a:99999/",
                             "file:///etc/passwd", "gopher://a/", "https://[::1/", "https://a b/"})
        EXPECT_NE(refusal(text), "") << text;
    EXPECT_NE(refusal(std::string("https://a\0b/", 12)), "");
    EXPECT_NE(refusal("ftp://a/").find("\"ftp\""), std::string::npos);
    const std::string message = refusal("https://user:hidden@a/");
    EXPECT_NE(message.find("user name"), std::string::npos);
    EXPECT_EQ(message.find("hidden"), std::string::npos);
}

TEST(Url, LoopbackIsTheMachineItself) {
    for (const char* host : {"127.0.0.1", "127.255.3.4", "::1", "[::1]", "0:0:0:0:0:0:0:1",
                             "localhost", "LOCALHOST", "localhost."})
        EXPECT_TRUE(is_loopback(host)) << host;
    for (const char* host : {"128.0.0.1", "126.0.0.1", "::2", "localhost.example.com",
                             "127.0.0.1.nip.io", "mail", "", "0.0.0.0"})
        EXPECT_FALSE(is_loopback(host)) << host;
}

TEST(Url, OtherSpellingsOfAnAddressAreThatAddress) {
    EXPECT_TRUE(is_loopback(parse_url("http://2130706433/").host));
    EXPECT_TRUE(is_loopback(parse_url("http://0x7f.1/").host));
    EXPECT_FALSE(is_loopback(parse_url("http://134744072/").host));
}

TEST(Url, PlaintextNeedsLoopbackOrPermission) {
    EXPECT_TRUE(refuses_plaintext(parse_url("http://mail.example.com/"), false));
    EXPECT_TRUE(refuses_plaintext(parse_url("ldap://dc1/"), false));
    EXPECT_FALSE(refuses_plaintext(parse_url("http://mail.example.com/"), true));
    EXPECT_FALSE(refuses_plaintext(parse_url("http://127.0.0.1:8080/"), false));
    EXPECT_FALSE(refuses_plaintext(parse_url("https://mail.example.com/"), false));
    EXPECT_FALSE(refuses_plaintext(parse_url("ldaps://dc1/"), false));
}

bool allowed(const std::string& url, const char* list) {
    return is_allowed_host(parse_url(url), list);
}

TEST(Url, AllowedHosts) {
    EXPECT_TRUE(allowed("https://a.example.com/", ""));
    EXPECT_TRUE(allowed("https://a.example.com/", "  ,"));
    EXPECT_TRUE(allowed("https://a.example.com/", "A.Example.com"));
    EXPECT_TRUE(allowed("https://a.example.com/", "b.example.com, .example.com"));
    EXPECT_FALSE(allowed("https://example.com/", ".example.com"));
    EXPECT_FALSE(allowed("https://evilexample.com/", ".example.com"));
    EXPECT_FALSE(allowed("https://a.example.com.evil.org/", ".example.com"));
    EXPECT_FALSE(allowed("https://a.example.com/", "example.com"));
    EXPECT_TRUE(allowed("https://a.example.com/", "a.example.com:443"));
    EXPECT_FALSE(allowed("https://a.example.com:8443/", "a.example.com:443"));
    EXPECT_TRUE(allowed("https://a.example.com:8443/", ".example.com:8443"));
    EXPECT_TRUE(allowed("https://a.example.com:8443/", "a.example.com"));
    EXPECT_TRUE(allowed("https://[::1]:8443/", "[::1]:8443"));
    EXPECT_TRUE(allowed("https://[::1]:8443/", "::1"));
    EXPECT_FALSE(allowed("https://[::1]:8443/", "[::1]:443"));
    EXPECT_FALSE(allowed("https://10.0.0.1/", ".1 .0.1"));
    EXPECT_FALSE(allowed("https://a.example.com/", "a.example.com:x"));
    EXPECT_FALSE(allowed("https://a.example.com/", "."));
}

}  // namespace

}  // namespace crmsync::net
