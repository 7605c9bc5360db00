/* Globals that any thread reads and sets: atomic where C11's atomics are there, as in every compiler but some of MSVC's. */
#ifndef FQ_ATOMICS_H
#define FQ_ATOMICS_H

#if defined(__STDC_NO_ATOMICS__) /* aligned words are read and written whole on all machines of these compilers */
#define FQ_ATOMIC(type) type volatile
#else
#include <stdatomic.h>
#define FQ_ATOMIC(type) _Atomic(type)
#endif

#endif
