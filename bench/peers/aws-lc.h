/*
 * Included before everything in the build of nginx, which knows BoringSSL by name but not AWS-LC, its descendant.
 * They have the same QUIC and AEAD functions; the one that differs, here, is told the difference.
 */
#define OPENSSL_IS_BORINGSSL 1
#include <openssl/ssl.h>
#include <openssl/x509.h>
#define sk_X509_NAME_find(names, index, name) sk_X509_NAME_find(names, name)
