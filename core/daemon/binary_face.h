/* Binary frames, as functions over bytes alone. */
#ifndef BINARY_FACE_H
#define BINARY_FACE_H

#include <cairn/errors.h>
#include <cairn/message.h>

#define BINARY_HEAD 12        /* bytes before the message of a request: length and id */
#define BINARY_ANSWER_HEAD 16 /* the same of an answer */

struct binary_frame {
	size_t size; /* of the whole frame; 0 while it is not known */
	uint64_t id;
	struct cairn_slice message;
};

/*
 * Look at the frame that begins IN. Returns 1 when all of it is there, 0 when more bytes are needed, -1 with
 * *ERROR where it is no frame and nobody knows where the next one begins.
 */
int binary_frame_read(struct cairn_slice in, struct binary_frame *frame, struct cairn_error *error);
/* Whether the message of FRAME is a request: version, flags and fields. INVALID names what is wrong. */
enum cairn_code binary_frame_check(const struct binary_frame *frame, struct cairn_error *error);

#endif
