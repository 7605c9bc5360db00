/* NumPy's headers, as all files of layer 1 include them; the one with FQ_IMPORTS_NUMPY loads NumPy. */
#ifndef FQ_NUMPY_API_H
#define FQ_NUMPY_API_H

#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_1_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL fq_array_api
#ifndef FQ_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif
#include <numpy/arrayobject.h>

#endif
