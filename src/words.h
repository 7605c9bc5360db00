/* Random words, as Python calls them. */
#ifndef FQ_WORDS_H
#define FQ_WORDS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* _random_words(out, key0, key1, start): fills a contiguous buffer of uint16 with the words from this one on. */
PyObject *fq_random_words(PyObject *module, PyObject *args);

#endif
