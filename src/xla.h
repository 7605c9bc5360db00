/* What XLA calls on the CPU: handlers for its foreign function interface. */
#ifndef FQ_XLA_H
#define FQ_XLA_H

typedef struct {
    const char *name; /* of the target, as jax.ffi.ffi_call names it */
    void *handler;
} fq_xla_target;

/* Ends with a NULL name, which comes first in a build that found no header of XLA. */
extern const fq_xla_target fq_xla_targets[];

#endif
