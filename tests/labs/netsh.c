/* netsh.exe: asks the tests, and prints what they say */
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <winsock2.h>
int main(int argc, char **argv) {
    char text[65536];
    int length = snprintf(text, sizeof text, "%u", GetOEMCP()), got, code = -1;
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("WANPOOL_TEST_NETSH")))};
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET link = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(link, (struct sockaddr *) &there, sizeof there)) return 99;
    for (int i = 1; i < argc; i++) length += snprintf(text + length, sizeof text - length, "\t%s", argv[i]);
    text[length++] = '\n';
    send(link, text, length, 0);
    _setmode(1, _O_BINARY);
    while ((got = recv(link, text, sizeof text, 0)) > 0) {
        if (code < 0) code = text[0], fwrite(text + 1, 1, got - 1, stdout);
        else fwrite(text, 1, got, stdout);
    }
    return code;
}
