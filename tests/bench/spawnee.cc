// The least that a started process can do: one byte to the pipe it was given, and away.

#include <unistd.h>

int main() { return ::write(3, "x", 1) == 1 ? 0 : 1; }
