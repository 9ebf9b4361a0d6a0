/* exit.h - exit codes of the helper programs that perceptd tells apart. */
#ifndef BASE_EXIT_H
#define BASE_EXIT_H

/* A mapped file was changed or cut short under percept-engine. */
enum { EXIT_FILE_LOST = 75 };

#endif
