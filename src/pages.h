/* Memory that the operating system hands out on first use: in pages as large as it has. */
#ifndef FQ_PAGES_H
#define FQ_PAGES_H

#include <stddef.h>

/* Asks for large pages under an output about to be written for the first time; small outputs are left alone. Each page is
 * cleared when it is first touched, and many small ones cost more than the computation. */
void fq_large_pages(void *data, size_t size);

#endif
